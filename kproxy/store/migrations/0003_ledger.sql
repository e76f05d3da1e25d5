-- Receipts, their attempts, and sums over them (contract section 7). Amounts are nano-dollars, NULL
-- where the price is not known; `arrived` is Unix seconds, an attempt's times are seconds after it.

-- Rows are numbered so that they are written side by side: the first ids were random, and a page for
-- each would be most of what a receipt costs.
CREATE TABLE receipt (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    arrived REAL NOT NULL,
    asked TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    status TEXT NOT NULL,
    cost INTEGER,
    savings INTEGER NOT NULL,
    policy_version TEXT NOT NULL,
    body TEXT NOT NULL
);

CREATE INDEX receipt_by_account ON receipt (account_id, arrived, id);

-- Filled until 2026-11-25 and never read: attempts are in a receipt's body. It stays for an older
-- kproxy that still runs beside a newer one.
CREATE TABLE attempt (
    receipt INTEGER NOT NULL,
    place INTEGER NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    started REAL NOT NULL,
    first_token REAL,
    ended REAL NOT NULL,
    ending TEXT NOT NULL,
    fault TEXT,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    cached_tokens INTEGER,
    cache_write_tokens INTEGER,
    reasoning_tokens INTEGER,
    estimated INTEGER,
    cost INTEGER,
    PRIMARY KEY (receipt, place)
) WITHOUT ROWID;

CREATE TABLE usage_minute (
    start INTEGER NOT NULL,
    account_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    requests INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    savings INTEGER NOT NULL,
    charged_tokens INTEGER NOT NULL,
    charged_spend INTEGER NOT NULL,
    PRIMARY KEY (start, account_id, key_id, model, provider)
) WITHOUT ROWID;

CREATE TABLE usage_day (
    start INTEGER NOT NULL,
    account_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    requests INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    cache_write_tokens INTEGER NOT NULL,
    reasoning_tokens INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    savings INTEGER NOT NULL,
    charged_tokens INTEGER NOT NULL,
    charged_spend INTEGER NOT NULL,
    PRIMARY KEY (start, account_id, key_id, model, provider)
) WITHOUT ROWID;

-- How far each spool file has been moved into the tables above, in bytes.
CREATE TABLE spool (
    name TEXT PRIMARY KEY,
    moved INTEGER NOT NULL
) WITHOUT ROWID;
