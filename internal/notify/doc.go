// Package notify tells others what happens in the registry: watchers, who hold a
// connection open ([Feed]), and the receivers of webhooks, who get a request for each
// event that they want ([Notifier]). Both are fed by the log alone.
//
// One Feed a process reads each new event once, for all watchers and webhooks, when this
// process has appended to the log or a cheap look at its head says that another one has.
//
// A webhook has a cursor: the last event that was dealt with. Events after it are looked
// at in order, by what the webhook wanted when they happened; those that it wants become
// deliveries in the same transaction that moves the cursor. A delivery is tried until the
// receiver takes it, for three days; one that waits holds back the later ones of the same
// subject and no others. Only the process that has a webhook's lease does any of this. So
// an event is delivered at least once, in order for each subject, whatever crashes when;
// an event that is sent again, since a crash came between sending and noting it, has the
// id that it had before.
//
// The package must never slow a write down: it only reads the log, and writes tables that
// no decision rests on. It must never follow a redirect, and never connect to an address
// that the operator does not allow: each delivery looks its receiver up again, and the
// address is checked when it is dialled.
//
// It imports the root package and registrar.
package notify
