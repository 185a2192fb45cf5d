// The pool's pin protocol as programs for the TSO machine.
//
// A hit takes no latch and no locked instruction: it stores the frame in a pin slot of its thread
// and looks at the page's entry again. Whoever wants a frame for itself closes the entry, makes a
// process barrier and then looks at all slots: either it sees the pin, or the reader sees the
// closed entry. A put stores 0 in the slot and then asks whether somebody waits for pins.

#ifndef TESTS_MODEL_PIN_PROTOCOL_MODEL_H_
#define TESTS_MODEL_PIN_PROTOCOL_MODEL_H_

#include <utility>
#include <vector>

#include "tests/model/pin_protocol_state.h"
#include "tests/model/tso_machine.h"

namespace test_model {

// What the protocol consists of. A test leaves out one part at a time.
struct Protocol {
  bool barrier = true;                 // between closing an entry and looking at the slots
  bool recheck = true;                 // a hit looks at the entry again
  bool close_before_scan = true;       // eviction closes the entry, then looks at the slots
  bool scan_before_dirty = true;       // eviction takes the dirty mark after it has seen the slots
  bool zero_old_table = true;          // growth does, before it releases the latch
  bool always_mark_dirty = true;       // even if the page is marked
  bool exchange_dirty = true;          // write-back takes the mark by a locked instruction
  bool touch_by_exchange = true;       // usage is changed by compare-and-exchange
  bool mark_rescue = true;             // the evictor does not take "closed" for "not rescued"
  bool sync_waits = true;              // for the end of another's write-back of the page
  bool wait_before_barrier = true;     // a writer counts itself in `waiters` before its barrier
  bool retreat_notifies = true;        // a hit that fails after its store to the slot does as a put
  bool find_again_after_sleep = true;  // a writer does not trust the entry's old place
  bool count_owed = true;              // pins are the slots less what is owed
  bool owed_latched = true;            // owed changes under the latch
  bool slots_before_owed = true;       // the slots are read first
  bool settle_owed_first = true;       // the owner takes owed back before it clears its slot
};

// Pins page, reads it, puts it; `rounds` times.
struct Reader {
  Word thread = 0;
  Word page = 1;
  Word rounds = 1;
  bool touch = false;   // marks the entry as used
  bool change = false;  // writes to the page
  bool settle = false;  // while it has its pin, takes back what is owed on frame 1
};
Program MakeReader(const Protocol& protocol, const Reader& reader);

// Round by round: takes the frame of the first page for the second one, if nobody has it pinned.
// Releases the latch while it writes, if so told.
enum class WriteBack { kLatched, kUnlatched };
Program MakeEvictor(const Protocol& protocol, std::vector<std::pair<Word, Word>> rounds,
                    WriteBack write_back = WriteBack::kLatched);
// Writes frame 1 to the file while it stays in the pool.
Program MakeSync(const Protocol& protocol);
// Moves all entries to table 1.
Program MakeGrowth(const Protocol& protocol);
// Waits until nobody has page 1 pinned, changes it and lets the others in.
Program MakeWriter(const Protocol& protocol);
// Puts the pin on frame 1 that is in another thread's slot.
Program MakeForeignPut(const Protocol& protocol, bool change);

// Page 1 is in frame 1, and if there are `pages` 2, page 2 in frame 2.
TsoModel MakePinModel(std::vector<Program> programs, Word pages);

}  // namespace test_model

#endif  // TESTS_MODEL_PIN_PROTOCOL_MODEL_H_
