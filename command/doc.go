// Package command is the life of one command: checked against the description,
// waiting or sent, with a deadline, answered or not, and exactly one outcome.
// MQTT, HTTP and the command line all submit here; the hub delivers.
//
// # The life of a command
//
//	Submit ── check ──▶ invalid, unsupported, offline, busy, failed
//	            │
//	            ├── no ttl, device live ──────────────┐
//	            │                                     ▼
//	            └── ttl, or a sleeper ──▶ storing ──▶ queued ──▶ sent ──▶ over
//	                                        │         │   ▲        │
//	                                        │    marking ─┘        │
//	                                        ▼         ▼            ▼
//	                                     failed   expired      ok, failed, denied, invalid,
//	                                              offline      unsupported, busy, expired
//	                                              superseded   outcome_unknown
//	                                              cancelled
//
// Storing: its row is on the way to the disk. A command with a ttl, and one for
// a sleeper, is on disk before anything else happens to it. While it is on its
// way those behind it wait, so that order is kept; if the disk takes longer
// than five seconds it is failed.
//
// Queued: it waits for the link or for one of the 8 places at the device. The
// asker is told "waiting" only if it was stored and could not be sent at once.
//
// Marking: only a stored command that must not happen twice (a button, an
// action). That it is sent now, and to which boot, is on disk before it is
// sent; so after a kill we know that it may have happened. Of any other stored
// command this is noted while it is sent: it may be sent once more.
//
// Sent: it is at the device. When the link breaks it stays sent, and is sent
// again at the next hello with its id, the time that is left and the next
// attempt; one that must not happen twice only to the same boot, else it is
// outcome_unknown.
//
// Over: it has its outcome. Of a command that was stored the outcome is stored
// too before it is told, and stays on disk until the asker confirms; after a
// restart it is told again.
//
// # What is decided here
//
// Of several values for one name in a command the last counts, as it does for
// records in a frame.
//
// A command without a ttl that was never sent is offline when its deadline
// comes while there is no link, or when the grace of its device ends; it is
// expired when there was a link and the device was too busy to take it.
//
// A device does not begin after the time left, but it may answer a moment
// later. So a command that was sent has half a second beyond its deadline until
// it is outcome_unknown. It no longer counts as unanswered then.
//
// A sent command of a device that is removed is outcome_unknown, not
// unsupported: it may have happened.
//
// When the disk holds a command up for five seconds, later ones that need no
// disk pass it.
package command
