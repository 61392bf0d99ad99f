package sqlstore

import (
	"errors"
	"math"
	"sync"

	"github.com/pedigree-ml/pedigree"
)

// memory keeps what reads have found out lately, each with the seqs of the subjects that it
// rests on. It may be out of date, also because other processes write: a decision that rests
// on it is refused by the append then, since its checks fail, and is made again from the
// database. So nothing has to be forgotten for the sake of truth.
type memory struct {
	mu       sync.RWMutex
	begun    bool
	access   int64
	models   map[string]rememberedModel    // by the key of the name
	policies map[string]rememberedPolicies // by the project's id
}

type rememberedModel struct {
	seq int64
	id  string
}

// rememberedPolicies are the instance's and the project's: the seq of each subject, and of
// the event that applied the policy that holds, -1 where none does.
type rememberedPolicies struct{ seqs, applied [2]int64 }

// maxRemembered bounds each map of a memory, which begins anew beyond it.
const maxRemembered = 4096

// ErrForgotten is what a recalled [Tx] answers to what it does not remember.
var ErrForgotten = errors.New("not remembered")

// Recall is a [Tx] about the present without a transaction: it answers from what earlier
// reads have found out, and returns [ErrForgotten] for the rest. What it answers may be out
// of date: it is for decisions alone, whose append is refused then. Any failure of such a
// decision says nothing, and asks to decide from the database. It is nil before the first
// read.
func (s *Store) Recall() *Tx {
	s.memory.mu.RLock()
	defer s.memory.mu.RUnlock()
	if !s.memory.begun {
		return nil
	}
	return &Tx{s: s, current: true, last: math.MaxInt64, access: s.memory.access, checks: map[string]int64{}}
}

// Recalled says that tx answers from memory.
func (tx *Tx) Recalled() bool { return tx.c == nil }

func (m *memory) keepAccess(seq int64) {
	m.mu.RLock()
	same := m.begun && m.access == seq
	m.mu.RUnlock()
	if same {
		return
	}
	m.mu.Lock()
	m.begun, m.access = true, seq
	m.mu.Unlock()
}

// keep remembers a value under a key of one of the maps.
func keep[T any](m *memory, in *map[string]T, key string, value T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if *in == nil || len(*in) >= maxRemembered {
		*in = map[string]T{}
	}
	(*in)[key] = value
}

func recall[T any](m *memory, in *map[string]T, key string) (T, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	value, ok := (*in)[key]
	return value, ok
}

// recallModel is [Tx.ModelID] from memory. That a name is free is not remembered.
func (tx *Tx) recallModel(key string) (string, error) {
	m, ok := recall(&tx.s.memory, &tx.s.memory.models, key)
	if !ok {
		return "", ErrForgotten
	}
	tx.checks[key] = m.seq
	return m.id, nil
}

// policyScopes are the subjects of the policies that hold for a project.
func policyScopes(projectID string) [2]string {
	return [2]string{pedigree.PolicySubject(""), pedigree.PolicySubject(projectID)}
}
