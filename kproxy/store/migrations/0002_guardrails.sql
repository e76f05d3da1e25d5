-- What a key may spend and where, its own provider keys, and when it was used (contract section 11).

-- JSON of admission.guardrails.Guardrails; NULL: none.
ALTER TABLE api_key ADD COLUMN guardrails TEXT;

-- JSON: a provider's slug to the sealed key in base64, see store/vault.py; NULL: none.
ALTER TABLE api_key ADD COLUMN provider_keys TEXT;

-- Unix seconds, some seconds late; NULL: never.
ALTER TABLE api_key ADD COLUMN last_used_at INTEGER;
