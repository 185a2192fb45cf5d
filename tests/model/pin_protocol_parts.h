// Parts of the programs of those who work under the latch.

#ifndef TESTS_MODEL_PIN_PROTOCOL_PARTS_H_
#define TESTS_MODEL_PIN_PROTOCOL_PARTS_H_

#include <cstddef>
#include <functional>

#include "tests/model/pin_protocol_model.h"

namespace test_model {

// Their registers.
enum : size_t { kFrame, kPlace, kPins, kSlot, kRound, kEntry };

using PageOfStep = std::function<Word(Cpu&)>;

// Who may close a page that is still being written, though it was rescued.
enum class WhileWritten { kGoesElsewhere, kCloses };
// Closes the entry of the page, or goes to `otherwise`: it is absent, or closed already.
void AddClose(Program& program, PageOfStep page, WhileWritten while_written, const char* otherwise);
void Reopen(Cpu& cpu);

void AddBarrier(Program& program, const Protocol& protocol);
// Leaves the pins of the frame in kPins.
void AddScan(Program& program, const Protocol& protocol);

// Goes to `if_clean` if there is nothing to write.
void AddTakeDirty(Program& program, const Protocol& protocol, const char* if_clean);
// Writes the frame to the file. Uses kEntry.
void AddWrite(Program& program);

// Sleeps until it is notified, then goes on with the step `then`.
void AddSleep(Program& program, const char* then);

}  // namespace test_model

#endif  // TESTS_MODEL_PIN_PROTOCOL_PARTS_H_
