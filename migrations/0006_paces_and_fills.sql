-- How far the pace of each connection is used ahead, and how far its fill is. Expands only: the version
-- before this one runs on it as well, rests a lane instead, and sends what is due in the order of its
-- coming. While its indexes are built, a second or so for a million effects, whoever writes effects waits.

-- Kept with the lane, so that a limit holds over all who lease it.
ALTER TABLE lanes ADD COLUMN paced_until timestamptz;

ALTER TABLE effects
    -- Made due because its connection was made the destination, and not by an event: what an event
    -- asks for goes first.
    ADD COLUMN filling boolean NOT NULL DEFAULT false;

ALTER TABLE connections
    -- When it last became the destination with something to fill it with, and with how many.
    ADD COLUMN fill_since timestamptz,
    ADD COLUMN fill_total bigint NOT NULL DEFAULT 0;

-- What a lane sends next, in this order.
CREATE INDEX effects_next
    ON effects (connection_id, (flight_verb IS NULL), filling, not_before) WHERE due;
CREATE INDEX effects_filling ON effects (connection_id) WHERE filling AND (due OR dead);
-- What whoever takes a lane over has to settle first.
CREATE INDEX effects_in_flight ON effects (connection_id) WHERE flight_verb IS NOT NULL;
