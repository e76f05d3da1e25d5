-- What the plugin `memory` remembers: sentences of callers' users, by account and `user` (contract
-- section 9). Their index is made where the plugin is first used, see store/memories.py.

CREATE TABLE memory (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL,
    user TEXT NOT NULL,
    -- Digest of the two, one word of the index.
    owner TEXT NOT NULL,
    -- A newer one of the same topic takes its place; NULL: none.
    topic TEXT,
    text TEXT NOT NULL,
    -- Unix seconds.
    created_at REAL NOT NULL,
    UNIQUE (owner, text),
    UNIQUE (owner, topic)
);

CREATE INDEX memory_by_account ON memory (account_id, number);
