-- The fence as the guard knows it, until the database role's own file is here.
CREATE ROLE headscale NOLOGIN;
CREATE ROLE headscale_hs_1 LOGIN IN ROLE headscale PASSWORD 'of the tests';
CREATE ROLE headscale_hs_2 LOGIN IN ROLE headscale PASSWORD 'of the tests';
ALTER ROLE headscale_hs_1 SET role = headscale;
ALTER ROLE headscale_hs_2 SET role = headscale;
CREATE ROLE guard_hs_1 LOGIN PASSWORD 'of the tests';
CREATE ROLE guard_hs_2 LOGIN PASSWORD 'of the tests';
CREATE ROLE fence NOLOGIN CREATEROLE;
GRANT pg_signal_backend TO fence;

CREATE SCHEMA fence AUTHORIZATION fence;
SET ROLE fence;
CREATE TABLE fence.holder (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    host text NOT NULL,
    token bigint NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO fence.holder (host, token) VALUES ('none', 0);

CREATE FUNCTION fence.caller() RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog AS $$
    SELECT replace(substr(session_user, length('guard_') + 1), '_', '-')
$$;

CREATE FUNCTION fence.take(newest bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $$
DECLARE
    held fence.holder;
    login name;
BEGIN
    SELECT * INTO held FROM fence.holder FOR UPDATE;
    IF newest < held.token OR (newest = held.token AND held.host <> fence.caller()) THEN
        RAISE EXCEPTION 'token % is not newer than % of %', newest, held.token, held.host
            USING ERRCODE = '55000';
    END IF;
    UPDATE fence.holder SET host = fence.caller(), token = newest, taken_at = now();
    FOR login IN SELECT rolname FROM pg_roles WHERE rolname LIKE 'headscale\_%' LOOP
        EXECUTE format('ALTER ROLE %I %s', login,
            CASE WHEN login = 'headscale_' || replace(fence.caller(), '-', '_')
                 THEN 'LOGIN' ELSE 'NOLOGIN' END);
    END LOOP;
END $$;

CREATE FUNCTION fence.kick() RETURNS integer LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog AS $$
    SELECT count(pg_terminate_backend(pid))::integer FROM pg_stat_activity
    WHERE usename LIKE 'headscale\_%'
      AND usename <> 'headscale_' || replace(fence.caller(), '-', '_')
$$;
RESET ROLE;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA fence FROM PUBLIC;
GRANT USAGE ON SCHEMA fence TO guard_hs_1, guard_hs_2;
GRANT SELECT ON fence.holder TO guard_hs_1, guard_hs_2;
GRANT EXECUTE ON FUNCTION fence.take, fence.kick TO guard_hs_1, guard_hs_2;
CREATE TABLE public.writes (host text);
ALTER TABLE public.writes OWNER TO headscale;
