#include "os/fault_plan.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>

namespace os::testing {

void FaultPlan::Arm(const Fault& fault) {
  if (fault.nth == 0 || fault.error.ok()) std::abort();  // would never fire, or not as a failure
  LatchHolder holder(latch_);
  fault_ = fault;
  counted_ = 0;
  fired_ = false;
}

void FaultPlan::Disarm() {
  LatchHolder holder(latch_);
  fault_.reset();
}

Errno FaultPlan::Next(Kind kind) {
  LatchHolder holder(latch_);
  ++calls_[static_cast<size_t>(kind)];
  if (!fault_ || (fault_->kind && *fault_->kind != kind)) return kSuccess;
  ++counted_;
  const bool fails = fault_->forever ? counted_ >= fault_->nth : counted_ == fault_->nth;
  if (!fails) return kSuccess;
  fired_ = true;
  return fault_->error;
}

bool FaultPlan::half_done() const {
  LatchHolder holder(latch_);
  return fault_ && fault_->half_done;
}

bool FaultPlan::fired() const {
  LatchHolder holder(latch_);
  return fired_;
}

uint64_t FaultPlan::calls(Kind kind) const {
  LatchHolder holder(latch_);
  return calls_[static_cast<size_t>(kind)];
}

uint64_t FaultPlan::calls() const {
  LatchHolder holder(latch_);
  return std::accumulate(calls_.begin(), calls_.end(), uint64_t{0});
}

namespace {

// Whether the loop over the calls may go on with the next mode.
bool FailEachCall(const FaultLoop& loop, FaultPlan::Fault fault,
                  const std::function<void(FaultPlan&)>& scenario) {
  for (fault.nth = 1; fault.nth <= loop.calls_max; ++fault.nth) {
    SCOPED_TRACE(::testing::Message()
                 << "call " << fault.nth << " fails with " << fault.error.Name()
                 << (fault.forever ? ", and all after it" : ", once")
                 << (fault.half_done ? ", half done" : ""));
    FaultPlan plan;
    plan.Arm(fault);
    scenario(plan);
    if (::testing::Test::HasFatalFailure()) return false;
    if (!plan.fired()) return true;
  }
  ADD_FAILURE() << "the scenario makes more than " << loop.calls_max << " calls";
  return false;
}

}  // namespace

void ForEachFault(const FaultLoop& loop, const std::function<void(FaultPlan&)>& scenario) {
  for (const bool forever : {false, true}) {
    for (const bool half_done : {false, true}) {
      FaultPlan::Fault fault;
      fault.error = loop.error;
      fault.kind = loop.kind;
      fault.forever = forever;
      fault.half_done = half_done;
      if (!FailEachCall(loop, fault, scenario)) return;
    }
  }
}

}  // namespace os::testing
