-- What mesh-database makes before it applies the fence; and a table for tests to write into.
CREATE ROLE headscale NOLOGIN;
CREATE ROLE guard NOLOGIN;
CREATE ROLE fence NOLOGIN CREATEROLE;
GRANT pg_signal_backend TO fence;
CREATE ROLE headscale_hs_1 LOGIN IN ROLE headscale PASSWORD 'of the tests';
CREATE ROLE headscale_hs_2 LOGIN IN ROLE headscale PASSWORD 'of the tests';
ALTER ROLE headscale_hs_1 SET role = headscale;
ALTER ROLE headscale_hs_2 SET role = headscale;
GRANT headscale_hs_1, headscale_hs_2 TO fence WITH ADMIN OPTION;
CREATE ROLE guard_hs_1 LOGIN IN ROLE guard PASSWORD 'of the tests';
CREATE ROLE guard_hs_2 LOGIN IN ROLE guard PASSWORD 'of the tests';
CREATE TABLE public.writes (host text);
ALTER TABLE public.writes OWNER TO headscale;
