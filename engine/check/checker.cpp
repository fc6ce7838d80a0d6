// SPDX-License-Identifier: Apache-2.0
#include "engine/check/checker.h"

#include <utility>

#include "engine/pool_state.h"

namespace lamina {
namespace {

// Beside users: only read, and compared.
constexpr uint64_t check_bytes_beside_users = 50 * mib;
// Findings that are kept; more are counted.
constexpr size_t findings_limit = 10'000;

}  // namespace

Checker::Checker(PoolState& pool) : pool_(pool), pace_(pool, check_bytes_beside_users) {}

void Checker::ask(bool data) {
  Lock lock(mutex_);
  ++status_.asked;
  data_ = data;
}

void Checker::stop() {
  Lock lock(mutex_);
  stopped_ = status_.asked;
}

bool Checker::wanted() const {
  Lock lock(mutex_);
  return status_.asked > status_.answered;
}

CheckStatus Checker::status() const {
  Lock lock(mutex_);
  return status_;
}

std::vector<CheckFinding> Checker::findings() const {
  Lock lock(mutex_);
  return findings_;
}

Result<> Checker::go_on() const {
  if (pool_.closing()) return fail(Code::busy, "the pool was closed");
  Lock lock(mutex_);
  if (stopped_ >= status_.asked) return fail(Code::busy, "it was stopped");
  return {};
}

void Checker::doing(const char* what, uint64_t all) {
  Lock lock(mutex_);
  status_.doing = what;
  status_.done = 0;
  status_.all = all;
}

void Checker::note(uint64_t CheckStatus::*counter, uint64_t count) {
  Lock lock(mutex_);
  status_.*counter += count;
}

void Checker::add(CheckFinding finding) {
  Lock lock(mutex_);
  ++status_.findings;
  if (findings_.size() < findings_limit) findings_.push_back(std::move(finding));
}

void Checker::add_all(Findings findings) {
  for (CheckFinding& finding : findings) add(std::move(finding));
}

std::string Checker::place(Address address) const {
  const auto at = pool_.space.locate(address);
  if (!at) return "generation " + std::to_string(raw(address.generation));
  return at->blob->disk().name() + "@" + std::to_string(at->offset);
}

Task<void> Checker::run() {
  uint64_t asked = 0;
  bool data = false;
  {
    Lock lock(mutex_);
    asked = status_.asked;
    data = data_;
    const uint64_t answered = status_.answered;
    status_ = {};
    status_.asked = asked;
    status_.answered = answered;
    status_.running = true;
    status_.data = data;
    findings_.clear();
  }
  Task<Result<>> passing = pass(data);
  const Result<> passed = co_await passing;
  Lock lock(mutex_);
  status_.running = false;
  status_.doing.clear();
  status_.ended = passed ? "done" : passed.error().message;
  status_.answered = asked;
}

// What has been written so far is in the image from here on. Read-only, it says what it says.
Task<Result<>> Checker::checkpoint() {
  if (pool_.settings.read_only || !pool_.log.health()) co_return Result<>{};
  co_return co_await pool_.checkpointer.run(true);
}

Task<Result<>> Checker::pass(bool data) {
  LAMINA_CO_TRY(co_await checkpoint());
  check_health();
  LAMINA_CO_TRY(co_await check_fixed_places());
  LAMINA_CO_TRY(co_await check_nodes());
  LAMINA_CO_TRY(co_await check_maps());
  LAMINA_CO_TRY(co_await check_segments());
  if (data) LAMINA_CO_TRY(co_await check_data());
  co_return go_on();
}

std::string Checker::in_device(DeviceId id, BlockRange range) const {
  std::string name;
  {
    Lock order(pool_.log.order());
    if (const DevicePtr device = pool_.devices.find(id)) name = device->name;
  }
  return "device \"" + name + "\" (" + std::to_string(raw(id)) + ") bytes " +
         std::to_string(range.begin.byte_offset()) + " to " +
         std::to_string(range.end.byte_offset());
}

// What the pool has met itself.
void Checker::check_health() {
  const Result<> health = pool_.log.health();
  if (!health) add({"A19", "pool \"" + pool_.name + "\"", health.error().message});
  for (const auto& blob : pool_.blobs())
    if (blob->disk().given_up())
      add({"A13", "blob \"" + blob->superblock().blob_name + "\"",
           "its disk has failed or is missing: what lies there alone cannot be read"});
  for (const OpenOriginPtr& origin : pool_.origins.all())
    if (const Result<> good = origin->check(); !good)
      add({"C7", "external origin " + origin->origin().path, good.error().message});
  std::vector<LostRange> lost;
  {
    Lock order(pool_.log.order());
    lost = pool_.devices.lost;
  }
  for (const LostRange& one : lost)
    add({"B6", in_device(one.device, one.range), "is listed as lost"});
}

}  // namespace lamina
