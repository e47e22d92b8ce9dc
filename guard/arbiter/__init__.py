"""The arbiter: lets the standby take over at once when the primary's host is surely gone.

It runs on the host of the third voter. Without it Patroni waits until the leader's lease has run
out, 20 s at least. It takes the leader's key away, and nothing else: who leads next is Patroni's
own decision. docs/decisions/0010 shows that no acknowledged write is lost even when the primary
lives.

A package of its own inside the guard's: what only an arbiter needs restarts no guard.
"""
