// SignalSource: the end of a segment at which signals arrive.

#ifndef RSM_INTERNAL_SIGNAL_SOURCE_H_
#define RSM_INTERNAL_SIGNAL_SOURCE_H_

#include <memory>
#include <vector>

#include "os/wait_words.h"
#include "rsm/rsmapi.h"

namespace rsm::internal {

// What keeps words mapped while somebody waits for them.
using WordOwners = std::vector<std::shared_ptr<const void>>;

// Thread-safe.
class SignalSource {
 public:
  virtual ~SignalSource() = default;
  // Appends words of which one changes when a signal comes, or the other side ends, and their values
  // now; at most `count_max`. Whoever looks at the source after this, and then waits, misses nothing.
  // Returns false where there are more words than that: then it must look again now and then.
  virtual bool AppendWords(size_t count_max, std::vector<os::WaitWord>& words,
                           WordOwners& owners) const = 0;
  virtual bool HasSignal() const = 0;
  // Takes one that is pending; false: none is.
  virtual bool TakeSignal() = 0;
  // RSM_SUCCESS while signals can come. RSMERR_CONN_ABORTED: the other side has ended.
  // RSMERR_BAD_SEG_HNDL: the handle was given back.
  virtual int State() const = 0;
  // After the words and their owners were let go.
  virtual void StopWaiting() const {}
};

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_SIGNAL_SOURCE_H_
