// SPDX-License-Identifier: Apache-2.0
#include "engine/pool.h"

#include "base/check.h"
#include "engine/pool_state.h"
#include "engine/recovery.h"

namespace lamina {

Pool::Pool(std::unique_ptr<PoolState> state) : state_(std::move(state)) {}
Pool::~Pool() = default;

Task<Result<std::unique_ptr<Pool>>> Pool::open(Blobs blobs, Settings settings) {
  auto state = co_await recover(std::move(blobs), std::move(settings));
  if (!state) co_return forward_error(state);
  std::unique_ptr<Pool> pool(new Pool(std::move(*state)));
  if (!pool->state_->settings.read_only) {
    pool->state_->look_at_space();
    // What was rolled forward is merged soon, so that crashes in a row do not add up (D10).
    if (pool->state_->recovered_entries > 0)
      pool->state_->start_checkpoint();
    else
      pool->state_->start_preparing();
    if (pool->state_->may_come_back()) pool->state_->start_showing_space();
    pool->state_->start_watching_idle();
    pool->state_->start_emptying();
    pool->state_->healer.begin();
    pool->state_->go_on_scrubbing();
  }
  pool->state_->start_watching_origins();
  co_return pool;
}

// A new pool is its first checkpoint, clean and empty, and superblocks that lead to it: in that
// order, so that what a format that was cut off leaves is no pool.
Task<Result<>> Pool::format(Blobs& blobs, const Attributes& root) {
  if (blobs.empty()) co_return fail(Code::invalid, "a pool has at least one journal blob");
  PoolIdentity identity;
  identity.pool = blobs[0]->superblock().pool;
  identity.secret = blobs[0]->superblock().secret;
  identity.epoch = 1;
  Settings settings;
  settings.background = &Executor::current();
  settings.nodes_bytes = mib;
  settings.sums_bytes = mib;
  PoolState state(std::move(blobs), std::move(settings), identity, "");
  auto made = co_await state.make_empty(root);
  blobs = state.blobs();
  if (!made) co_return made;
  for (const auto& blob : blobs) {
    Task<Result<>> writing = blob->write_superblocks(blob->alone());
    auto written = co_await writing;
    if (!written) co_return written;
  }
  co_return Result<>{};
}

Task<Result<>> Pool::close() {
  PoolState& s = *state_;
  co_await s.wait_for_background();
  if (s.settings.read_only) co_return Result<>{};
  co_await s.log.stop();
  LAMINA_CO_TRY(s.log.health());
  auto finished = co_await s.log.finish();
  if (!finished) co_return finished;
  auto sealed = co_await s.writer.seal_all();
  if (!sealed) co_return sealed;
  // What lies in places that nobody looks at while it serves.
  Task<Result<>> healing = s.healer.heal_fixed_places();
  LAMINA_CO_TRY(co_await healing);
  // Twice: what the first one makes free is free in the second, which the next life begins from.
  auto merged = co_await s.checkpointer.run(true);
  if (!merged) co_return merged;
  auto freed = co_await s.reclaimer.after_checkpoint();
  if (!freed) co_return freed;
  co_return co_await s.checkpointer.run(true, true);
}

Task<Result<>> Pool::flush(DeviceId id) {
  PoolState& s = *state_;
  Sequence through = 0;
  {
    Lock order(s.log.order());
    const DevicePtr device = s.devices.find(id);
    if (!device) co_return fail(Code::not_found);
    through = device->last_change;
  }
  if (s.settings.read_only) co_return Result<>{};
  s.log.expect_sync(through);
  co_return co_await s.log.flush(through);
}

Task<Result<>> Pool::sync() {
  co_return co_await checkpoint();
}

Task<Result<>> Pool::checkpoint() {
  PoolState& s = *state_;
  LAMINA_CO_TRY(s.writable());
  auto done = co_await s.checkpointer.run();
  if (!done) co_return done;
  co_return co_await s.reclaimer.after_checkpoint();
}

Task<Result<>> Pool::count_shares() {
  co_return co_await state_->count_figures();
}

Result<> Pool::ask_shares() {
  LAMINA_TRY(state_->writable());
  state_->start_figures();
  return {};
}

Result<> Pool::ask_aging() {
  LAMINA_TRY(state_->writable());
  if (state_->space.tier_count() == 1)
    return fail(Code::unsupported, "the pool has one tier: there is none for data to age to");
  state_->start_aging_all();
  return {};
}

Result<> Pool::ask_defrag(DeviceId device) {
  LAMINA_TRY(state_->writable());
  std::vector<DeviceId> devices;
  for (const DeviceInfo& info : list())
    if (device == DeviceId::none || device == info.id) devices.push_back(info.id);
  if (device != DeviceId::none && devices.empty()) return fail(Code::not_found);
  state_->start_defragmenting(std::move(devices));
  return {};
}

void Pool::stop_defrag() {
  state_->defragmenter.stop();
}

Result<> Pool::ask_scrub() {
  LAMINA_TRY(state_->writable());
  state_->start_scrubbing();
  return {};
}

void Pool::stop_scrub() {
  state_->scrubber.stop();
}

void Pool::ask_check(bool data) {
  state_->start_checking(data);
}

void Pool::stop_check() {
  state_->checker.stop();
}

std::vector<CheckFinding> Pool::check_findings() const {
  return state_->checker.findings();
}

void Pool::on_changed(std::function<void(DeviceId)> changed) {
  state_->changed = std::move(changed);
}

std::vector<LostRange> Pool::lost() {
  PoolState& s = *state_;
  Lock order(s.log.order());
  std::vector<LostRange> lost = s.devices.lost;
  for (LostRange& range : lost)
    if (const DevicePtr device = s.devices.find(range.device)) range.name = device->name;
  const std::vector<LostRange> suspect = s.devices.suspect();
  lost.insert(lost.end(), suspect.begin(), suspect.end());
  return lost;
}

std::vector<LostRange> Pool::suspect() {
  Lock order(state_->log.order());
  return state_->devices.suspect();
}

Task<Result<>> Pool::accept_suspect(DeviceId id) {
  PoolState& s = *state_;
  LAMINA_CO_TRY(s.writable());
  {
    Lock order(s.log.order());
    const DevicePtr device = s.devices.find(id);
    if (!device) co_return fail(Code::not_found);
    if (device->map->suspect().empty()) co_return fail(Code::invalid);
    device->map->set_suspect({});
  }
  if (s.changed) s.changed(id);
  co_return co_await s.checkpointer.run(true);
}

}  // namespace lamina
