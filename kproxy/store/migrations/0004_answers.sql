-- Whole answers of requests with an Idempotency-Key, for 24 hours: `name` is the SHA-256 of account
-- and key, `digest` that of the request's body, `kept_at` Unix seconds, `fields` a JSON list of
-- [name, value], `size` the bytes of `body`. A prompt is not in here.
CREATE TABLE kept_answer (
    name BLOB PRIMARY KEY,
    digest BLOB NOT NULL,
    kept_at REAL NOT NULL,
    status INTEGER NOT NULL,
    receipt_id TEXT NOT NULL,
    fields TEXT NOT NULL,
    size INTEGER NOT NULL,
    body BLOB NOT NULL
);

-- With the size, so that all of them are summed without reading a body.
CREATE INDEX kept_answer_by_age ON kept_answer (kept_at, size);

-- Their receipts as JSON, until the ledger's tables have them.
CREATE TABLE kept_receipt (
    id TEXT PRIMARY KEY,
    body TEXT NOT NULL
) WITHOUT ROWID;
