-- What an application may ask of each kind of calendar, shared by all processes. Expands only: the
-- version before this one runs on it as well.

CREATE TABLE budgets (
    name       text PRIMARY KEY,
    used_until timestamptz NOT NULL
) WITH (fillfactor = 50);
