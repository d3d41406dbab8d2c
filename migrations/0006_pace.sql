-- How far the pace of each connection is used ahead: kept with its lane, so that a limit holds over all
-- who lease it. Expands only: the version before this one runs on it as well, and rests the lane instead.

ALTER TABLE lanes ADD COLUMN paced_until timestamptz;
