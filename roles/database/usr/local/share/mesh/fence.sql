-- The fence: only the control host that took it last may log in as Headscale.
--
-- Applied to database headscale by mesh-database, as the superuser, any number of times. Role
-- fence owns all of it; nobody may log in as fence, and Headscale's roles have no right here.
-- Each control host has two login roles: headscale_hs_1, as which its Headscale works, and
-- guard_hs_1, as which its guard calls the functions; they tell the host by it.

CREATE SCHEMA IF NOT EXISTS fence AUTHORIZATION fence;
REVOKE ALL ON SCHEMA fence FROM PUBLIC;

SET ROLE fence;

-- One row: who may write. The token is the revision of the guard's key in etcd.
CREATE TABLE IF NOT EXISTS fence.holder (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    host text NOT NULL,
    token bigint NOT NULL,
    taken_at timestamptz NOT NULL
);
INSERT INTO fence.holder (host, token, taken_at) VALUES ('none', 0, now()) ON CONFLICT DO NOTHING;

-- What mesh-registry keeps between runs; the keys in it are sealed with a key of the stack.
CREATE TABLE IF NOT EXISTS fence.registry (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    digest text NOT NULL,
    sealed text NOT NULL
);

-- Every access policy that was set; the one in force is Headscale's own.
CREATE TABLE IF NOT EXISTS fence.policy (
    version integer PRIMARY KEY,
    text text NOT NULL,
    sha256 text NOT NULL,
    set_at timestamptz NOT NULL DEFAULT now(),
    note text NOT NULL
);

-- What each change of addresses moved, so that it can be undone from either host.
CREATE TABLE IF NOT EXISTS fence.addresses (
    id text PRIMARY KEY,
    moves jsonb NOT NULL
);

-- The addresses of the nodes that extra DNS records name, as the active host saw them last.
CREATE TABLE IF NOT EXISTS fence.records (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    nodes jsonb NOT NULL
);

-- Makes the caller's host the only one whose Headscale may log in. Raises 55000 unless the token
-- is newer than the last one, or the same again from the same host.
CREATE OR REPLACE FUNCTION fence.take(wanted bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own text := substr(session_user, length('guard_') + 1);
    login record;
BEGIN
    IF session_user NOT LIKE 'guard\_%' THEN
        RAISE EXCEPTION '% is no guard', session_user USING ERRCODE = '42501';
    END IF;
    UPDATE fence.holder
       SET host = replace(own, '_', '-'), token = wanted, taken_at = now()
     WHERE token < wanted OR (token = wanted AND host = replace(own, '_', '-'));
    IF NOT FOUND THEN
        RAISE EXCEPTION 'token % is not newer than %', wanted,
            (SELECT token || ' of ' || host FROM fence.holder) USING ERRCODE = '55000';
    END IF;
    FOR login IN
        SELECT rolname, rolname = 'headscale_' || own AS mine
          FROM pg_roles
         WHERE rolname LIKE 'headscale\_%' AND rolcanlogin <> (rolname = 'headscale_' || own)
    LOOP
        EXECUTE format('ALTER ROLE %I %s', login.rolname,
                       CASE WHEN login.mine THEN 'LOGIN' ELSE 'NOLOGIN' END);
    END LOOP;
END
$$;

-- Ends every session of the other hosts' Headscale; how many there were. A login that was under
-- way while fence.take ran shows up here later: the holder asks again and again. Raises 55000 when
-- the caller's host is not the holder, which may have slept since.
CREATE OR REPLACE FUNCTION fence.kick() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own text := substr(session_user, length('guard_') + 1);
BEGIN
    IF NOT EXISTS (SELECT FROM fence.holder WHERE host = replace(own, '_', '-')) THEN
        RAISE EXCEPTION 'the fence is not that of %', session_user USING ERRCODE = '55000';
    END IF;
    RETURN (SELECT count(pg_terminate_backend(pid))
              FROM pg_stat_activity
             WHERE usename LIKE 'headscale\_%' AND usename <> 'headscale_' || own);
END
$$;

REVOKE ALL ON FUNCTION fence.take(bigint), fence.kick() FROM PUBLIC;
GRANT USAGE ON SCHEMA fence TO guard;
GRANT SELECT ON fence.holder TO guard;
GRANT SELECT, INSERT, UPDATE ON fence.registry TO guard;
GRANT SELECT, INSERT, DELETE ON fence.policy TO guard;
GRANT SELECT, INSERT, DELETE ON fence.addresses TO guard;
GRANT SELECT, INSERT, UPDATE ON fence.records TO guard;
GRANT EXECUTE ON FUNCTION fence.take(bigint), fence.kick() TO guard;

RESET ROLE;
