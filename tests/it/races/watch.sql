-- What no single write may do, whoever makes it.

CREATE FUNCTION watch_cursors() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.epoch < OLD.epoch OR NEW.next_offset < OLD.next_offset THEN
        RAISE EXCEPTION 'a cursor went back: % to %', OLD, NEW;
    END IF;
    IF (NEW.token <> OLD.token) <> (NEW.epoch = OLD.epoch + 1) THEN
        RAISE EXCEPTION 'an owner without an epoch of its own: % to %', OLD, NEW;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER UPDATE ON cursors FOR EACH ROW EXECUTE FUNCTION watch_cursors();

CREATE FUNCTION watch_bookings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.version <> OLD.version + 1 OR NEW.revision < OLD.revision THEN
        RAISE EXCEPTION 'a booking was overwritten: % to %', OLD, NEW;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER UPDATE ON bookings FOR EACH ROW EXECUTE FUNCTION watch_bookings();

CREATE FUNCTION watch_lanes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.token IS NOT NULL AND OLD.token <> NEW.token
       AND OLD.leased_until > clock_timestamp() THEN
        RAISE EXCEPTION 'two holders: % and %', OLD, NEW;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER UPDATE ON lanes FOR EACH ROW EXECUTE FUNCTION watch_lanes();

CREATE FUNCTION watch_effects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.desired_revision < OLD.desired_revision OR NEW.generation < OLD.generation THEN
        RAISE EXCEPTION 'an effect went back: % to %', OLD, NEW;
    END IF;
    -- A new attempt is for what is desired now, by who holds the lane now.
    IF NEW.flight_at IS NOT NULL AND NEW.flight_at IS DISTINCT FROM OLD.flight_at THEN
        IF NEW.flight_revision <> NEW.desired_revision
           OR NEW.flight_digest IS DISTINCT FROM NEW.desired_digest THEN
            RAISE EXCEPTION 'stamped what is not desired: %', NEW;
        END IF;
        IF NOT EXISTS (SELECT 1 FROM lanes l WHERE l.connection_id = NEW.connection_id
                                                AND l.token = NEW.flight_token) THEN
            RAISE EXCEPTION 'stamped by a former holder: %', NEW;
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER UPDATE ON effects FOR EACH ROW EXECUTE FUNCTION watch_effects();
