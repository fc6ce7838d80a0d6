// SPDX-License-Identifier: Apache-2.0
#include "engine/space/reclaim.h"

#include <algorithm>

#include "engine/mutation.h"
#include "engine/pool_state.h"
#include "engine/space/aging.h"
#include "engine/space/mover.h"
#include "engine/space/pins.h"
#include "engine/space/walk.h"

namespace lamina {
namespace {

constexpr size_t prepared_ahead = 4;  // free segments of a file kept allocated and written
constexpr uint32_t most_widened = 16;
constexpr uint64_t walk_part = 32;  // dead by the hints, of the pool: worth a walk
constexpr int hopeless_rounds = 4;  // checkpoints without a segment gained or about to be
constexpr int bounded_rounds = 64;  // then others have had what there was (D2)

using Wanted = Reclaimer::Wanted;

bool waits_for_space(Wanted wanted) {
  return wanted == Wanted::used || wanted == Wanted::owners;
}

bool of_figures(Wanted wanted) {
  return wanted == Wanted::figures || wanted == Wanted::owners;
}

}  // namespace

Task<Result<>> Reclaimer::after_checkpoint() {
  const bool low = space_is_low();
  {
    Lock lock(mutex_);
    if (busy_) {
      if (low) pool_.walker.press();
      co_return Result<>{};
    }
    busy_ = true;
  }
  co_return co_await take_round(Wanted::nothing);
}

bool Reclaimer::known(Wanted wanted, At image) const {
  if (waits_for_space(wanted) && pool_.dead_walked < image.dead_blocks) return false;
  return !of_figures(wanted) || pool_.walker.knows(image.content);
}

Task<Result<>> Reclaimer::measure(Wanted wanted) {
  At image;
  if (const ImagePtr newest = pool_.newest_image()) image = {newest->content, newest->dead_blocks};
  for (;;) {
    if (known(wanted, image)) co_return Result<>{};
    Completion completion;
    {
      Lock lock(mutex_);
      if (!busy_) {
        busy_ = true;
        break;
      }
      if (waits_for_space(wanted)) pool_.walker.press();
      ended_.add(completion);
    }
    co_await completion;
  }
  auto result = co_await take_round(wanted);
  if (result && of_figures(wanted) && !known(wanted, image))
    co_return fail(Code::io, "the maps could not be read whole");
  co_return result;
}

// Whoever calls it has made it busy.
Task<Result<>> Reclaimer::take_round(Wanted wanted, PlannedMove* planned) {
  Result<> result;
  for (bool again = true; again;) {
    const Epoch epoch = pool_.identity.epoch;
    again_ = false;
    result = co_await round(wanted, planned);
    if (result && again_) result = co_await round(wanted, planned);
    again = !result && result.error().code == Code::io;
    if (!again) break;
    // Retired stays retired, and what was copied was not published: the next round goes on (A19);
    // at once, where somebody waits for what it tells.
    pool_.log.fail_with(result.error(), epoch);
    result = co_await pool_.log.wait_until_works();
    again = result && (wanted != Wanted::nothing || planned);
  }
  pool_.look_at_space();
  Lock lock(mutex_);
  busy_ = planned_ = false;
  ended_.wake_all();
  co_return result;
}

Task<void> Reclaimer::be_busy() {
  for (;;) {
    Completion completion;
    {
      Lock lock(mutex_);
      if (!busy_) {
        busy_ = true;
        co_return;
      }
      ended_.add(completion);
    }
    co_await completion;
  }
}

Task<Result<>> Reclaimer::age_all() {
  LAMINA_CO_TRY(co_await pool_.pin_mover.settle());  // past their tiers would be too far
  do {
    // What was written lies below a cut, and what was moved is published.
    LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
    co_await users_have_room();
    co_await be_busy();
    LAMINA_CO_TRY(co_await take_round(Wanted::aging));
  } while (pool_.checkpointer.has_moves() && !pool_.closing());
  // And the room that it left is there.
  LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
  LAMINA_CO_TRY(co_await measure(Wanted::figures));
  LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
  co_await be_busy();
  co_return co_await take_round(Wanted::nothing);
}

// Who waits for space does what brings it, and sooner where nobody moves besides.
Task<void> Reclaimer::users_have_room() {
  Completion completion;
  {
    Lock lock(mutex_);
    if (!making_room_) co_return;
    room_made_.add(completion);
  }
  co_await completion;
}

Task<Result<>> Reclaimer::move_on() {
  co_await be_busy();
  co_return co_await take_round(Wanted::nothing);
}

Task<Result<>> Reclaimer::alone(std::function<Task<Result<>>()> work) {
  co_await be_busy();
  Task<Result<>> working = work();
  auto result = co_await working;
  Lock lock(mutex_);
  busy_ = false;
  ended_.wake_all();
  co_return result;
}

Task<Result<>> Reclaimer::move_planned(PlannedMove& move) {
  co_await be_busy();
  {
    Lock lock(mutex_);
    planned_ = true;
  }
  auto result = co_await take_round(Wanted::nothing, &move);
  co_return result;
}

bool Reclaimer::would_move() const {
  const ImagePtr image = pool_.newest_image();
  return !Mover(pool_, image->cut).plan(candidates(*image), {}).empty();
}

// What may be emptied: nobody will publish a first pointer into it, and no layer refers to it.
std::vector<Segment> Reclaimer::candidates(const Image& image) const {
  std::vector<Segment> all;
  for (const Segment& s : pool_.space.segments())
    if (s.use == SegmentUse::sealed && s.holds_data() && s.dead_in == 0 &&
        (s.settled_before(image.cut) || mutated(Mutation::trust_unsettled)))
      all.push_back(s);
  return all;
}

// What the walk has counted is exact, unless another checkpoint has counted on meanwhile.
void Reclaimer::take_counts(const WalkResult& walked, const Image& image,
                            const std::vector<Segment>& candidates) {
  if (pool_.checkpointer.number() != image.number || pool_.checkpointer.running()) return;
  for (const Segment& s : candidates) {
    const auto found = walked.live.find(raw(s.name.generation));
    const WalkResult::Live live = found == walked.live.end() ? WalkResult::Live{} : found->second;
    pool_.space.set_live(s.name.generation, static_cast<int64_t>(live.blocks),
                         static_cast<int64_t>(live.homes), live.of_snapshots_alone);
  }
  pool_.space.count_saved();
}

Task<Result<>> Reclaimer::round(Wanted wanted, PlannedMove* planned) {
  const bool low = space_is_low();
  LAMINA_CO_TRY(co_await free_dead());
  co_await pool_.move_pace.look();
  const bool may_move = pool_.checkpointer.watch_leaves();
  const ImagePtr image = pool_.newest_image();
  find_dead_nodes(*image);
  std::vector<Segment> candidates = this->candidates(*image);
  uint64_t hinted_dead = 0;
  for (const Segment& s : candidates)
    if (s.live_blocks <= 0 && s.homes <= 0) ++hinted_dead;
  Mover mover(pool_, image->cut);
  const MoveNeed need{
      .age_all = wanted == Wanted::aging, .first_tier = next_tier_, .widened = widened_};
  MovePlan plan;
  if (planned) {
    // Nor while a checkpoint has some that it may give back.
    if (!may_move || pool_.checkpointer.has_moves()) co_return Result<>{};
    Task<Result<MovePlan>> planning = planned->plan(image);
    Result<MovePlan> made = co_await planning;
    if (!made) co_return forward_error(made);
    plan = std::move(*made);
    if (plan.empty()) co_return Result<>{};
  } else if (may_move) {
    plan = mover.plan(candidates, need);
    const std::vector<Pin> pins = pins_of(pool_);
    const bool changed = std::exchange(pins_counted_, hash_of(pins)) != hash_of(pins);
    const bool ages = plan.policy == MovePolicy::aging && !plan.empty();
    if (changed || (ages && !pins.empty())) {
      LAMINA_CO_TRY(co_await count_pinned(pool_, image));
      // No others than before: what a checkpoint of the same cut has settled meanwhile would seem
      // dead, since this image does not know it (A5).
      for (Segment& s : candidates)
        if (const auto now = pool_.space.segment(s.name.generation)) s.pinned = now->pinned;
      plan = mover.plan(candidates, need);
    }
  }
  if (plan.empty() && known(wanted, {image->content, image->dead_blocks}) &&
      !worth_walking(hinted_dead) && !any_leaving(candidates))
    co_return Result<>{};

  // Where somebody waits for space, what takes more memory and so perhaps more passes is left for
  // later.
  const bool for_space = low || (!plan.empty() && !planned) || waits_for_space(wanted);
  const bool figures = (!for_space && !planned) || of_figures(wanted);
  Task<Result<WalkResult>> walking =
      pool_.walker.walk(image, {plan.victims, plan.parts}, for_space, figures);
  auto walked = co_await walking;
  if (!walked && walked.error().code == Code::busy) {
    if (wanted == Wanted::nothing && !planned) co_return Result<>{};
    co_return forward_error(walked);
  }
  if (!walked) {
    pool_.settings.log(
        Settings::Severity::error,
        "the maps could not be read whole, so no space is freed: " + walked.error().message);
    co_return Result<>{};
  }
  for (const Segment& s : candidates)
    if (!walked->live.contains(raw(s.name.generation)))
      pool_.space.mark_dead(s.name.generation, image->number, image->cut);
  pool_.checkpointer.drop_nodes(std::move(walked->unreachable), image->number);
  take_counts(*walked, *image, candidates);
  if (plan.empty()) co_return Result<>{};
  if (!again_ && (again_ = passes_over_snapshots(plan, candidates, need))) co_return Result<>{};
  if (!planned) next_tier_ = plan.from + 1;
  if (plan.policy == MovePolicy::aging && !plan.past_pins)
    LAMINA_CO_TRY(co_await leave_pinned(image, *walked, plan));
  if (plan.empty()) co_return Result<>{};
  auto batch = plan.parts ? mover.batch_of_parts(plan, *walked) : mover.batch(plan, *walked);
  if (planned) planned->refused = !batch;
  if (!batch) co_return Result<>{};
  const bool must = wanted == Wanted::aging || planned || plan.policy == MovePolicy::evacuation;
  if (!must && !mover.pays(*batch, *walked)) {
    widened_ = std::min(2 * widened_, most_widened);
    co_return Result<>{};
  }
  if (!planned) widened_ = 1;
  if (plan.policy == MovePolicy::aging) pool_.space.forget_reads(plan.from);
  const uint64_t emptied = plan.parts ? 0 : batch->plan.victims.size();
  pool_.move_pace.begin(batch->blocks);
  {
    Lock lock(mutex_);
    moved_.now = true;
    moved_.policy = plan.policy;
    goes_down_ = plan.from < plan.to;
  }
  auto moved = co_await mover.move(*image, std::move(walked->referrers), std::move(*batch));
  Lock lock(mutex_);
  moved_.now = false;
  if (!moved) co_return forward_error(moved);
  count_bytes(moved_, *moved);
  if (planned) planned->filled = mover.filled();
  moved_.victims += emptied;
  moved_.gained += emptied - std::min(emptied, plan.gains_in_place() ? mover.filled().size() : 0);
  co_return Result<>{};
}

// Segments without pinned data age whole, first; of the others the rest is taken out.
Task<Result<>> Reclaimer::leave_pinned(ImagePtr image, const WalkResult& walked, MovePlan& plan) {
  std::set<Generation> whole;
  for (const Generation victim : plan.victims)
    if (const auto segment = pool_.space.segment(victim); segment && segment->pinned == 0)
      whole.insert(victim);
  if (whole.size() == plan.victims.size()) co_return Result<>{};
  if (!whole.empty()) {
    plan.victims = std::move(whole);
    co_return Result<>{};
  }
  Task<Result<MovedParts>> finding = not_pinned(pool_, image, walked, plan.victims);
  auto parts = co_await finding;
  if (!parts) co_return forward_error(parts);
  plan.victims = parts->segments();
  plan.parts = std::make_shared<const MovedParts>(std::move(*parts));
  co_return Result<>{};
}

// Whether the walk has found data that only snapshots hold, which is to age before the plan's.
bool Reclaimer::passes_over_snapshots(const MovePlan& plan, std::vector<Segment>& candidates,
                                      const MoveNeed& need) const {
  if (plan.policy != MovePolicy::aging) return false;
  for (Segment& s : candidates)
    if (const auto now = pool_.space.segment(s.name.generation)) s.of_snapshots = now->of_snapshots;
  const MovePlan better = Mover(pool_, 0).plan(candidates, need);
  return std::ranges::any_of(candidates, [&](const Segment& s) {
    return of_snapshots(s) && better.from == plan.from && better.policy == plan.policy &&
           better.victims.contains(s.name.generation) && !plan.victims.contains(s.name.generation);
  });
}

bool Reclaimer::space_is_low() const {
  for (size_t tier = 0; tier < pool_.space.tier_count(); ++tier)
    if (pool_.space.available(Claim::user, tier) < pool_.space.low_mark(tier)) return true;
  return false;
}

// Until a walk has found it dead, what is in a blob that is being emptied keeps it from being
// empty.
bool Reclaimer::any_leaving(const std::vector<Segment>& candidates) const {
  const std::optional<BlobId> blob = pool_.space.leaving();
  return blob &&
         std::ranges::any_of(candidates, [blob](const Segment& s) { return s.name.blob == *blob; });
}

// A walk reads every node, so it is made for a part of the pool, or where space is short.
bool Reclaimer::worth_walking(uint64_t hinted_dead) const {
  const uint64_t total = pool_.space.total();
  const uint64_t maybe_dead = pool_.maybe_dead_blocks() / pool_.space.segment_blocks();
  return (hinted_dead + maybe_dead) * walk_part >= total ||
         (space_is_low() && hinted_dead + pool_.maybe_dead_blocks() > 0);
}

// Many may wait for the same segment: one of them goes about it, the others look again when it has
// been found, or hear that there is none to be had, for them neither.
Task<Result<>> Reclaimer::make_room(Claim claim) {
  Completion completion;
  bool waits = false;
  {
    Lock lock(mutex_);
    waits = making_room_;
    if (waits) room_made_.add(completion);
    making_room_ = true;
  }
  if (waits) {
    co_await completion;
    Lock lock(mutex_);
    if (refused_ && *refused_ <= claim) co_return fail(Code::no_space, "the pool is full");
    co_return Result<>{};
  }
  auto made = co_await make_room_alone(claim);
  if (!made && made.error().code == Code::no_space) pool_.look_at_space(true);
  Lock lock(mutex_);
  making_room_ = false;
  refused_.reset();
  if (!made && made.error().code == Code::no_space) refused_ = claim;
  room_made_.wake_all();
  co_return made;
}

Task<Result<>> Reclaimer::make_room_alone(Claim claim) {
  int without_gain = 0;
  for (int round = 0; !pool_.space.may_take(claim); ++round) {
    const uint64_t before = pool_.space.released();
    // Each turn: what was found dead before becomes free, what is dead now is found, what is
    // nearly dead is emptied.
    LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
    const bool looked = co_await round_of_others(before);
    if (!looked) LAMINA_CO_TRY(co_await after_checkpoint());
    const bool gains = pool_.space.released() != before || gain_pending();
    without_gain = gains ? 0 : without_gain + 1;
    if (without_gain >= hopeless_rounds || round >= bounded_rounds)
      co_return fail(Code::no_space, "the pool is full");
  }
  co_return Result<>{};
}

// Whether somebody else has looked for space meanwhile; who moves what he has planned has not. What
// he has released counts at once, however long he goes on moving.
Task<bool> Reclaimer::round_of_others(uint64_t released) {
  for (bool again = true; again;) {
    Completion completion;
    {
      Lock lock(mutex_);
      if (pool_.space.released() != released) co_return true;
      if (!busy_) co_return false;
      again = planned_;
      pool_.walker.press();
      ended_.add(completion);
    }
    co_await completion;
  }
  co_return true;
}

bool Reclaimer::users_wait() const {
  Lock lock(mutex_);
  return making_room_;
}

Task<void> Reclaimer::prepare_ahead() {
  {
    Lock lock(mutex_);
    if (preparing_) co_return;
    preparing_ = true;
  }
  while (!pool_.log_streams() && pool_.space.prepared() < prepared_ahead) {
    const auto name = pool_.space.borrow_unprepared();
    if (!name) break;
    Blob& blob = pool_.space.blob(name->blob);
    IoBatch batch;
    batch.prepare(blob.disk(), blob.offset(name->index, 0), blob.segment_bytes());
    co_await batch;
    pool_.counters.add(Cause::zeroes, batch.zeroed());
    pool_.space.return_borrowed(*name, batch.ok());
    if (!batch.ok()) break;
  }
  Lock lock(mutex_);
  preparing_ = false;
}

bool Reclaimer::more_to_gain() const {
  if (!space_is_low()) return false;
  return gain_pending();
}

// The mover's batches gain by themselves, and what is dead is free two checkpoints later.
bool Reclaimer::gain_pending() const {
  if (pool_.checkpointer.has_moves()) return true;
  for (const Segment& s : pool_.space.segments())
    if (s.dead_in != 0 && s.use == SegmentUse::sealed) return true;
  return false;
}

void Reclaimer::count_bytes(Moved& moved, uint64_t bytes) const {
  moved.bytes += bytes;
  if (moved.policy == MovePolicy::defragmentation) moved.defragmented += bytes;
  if (moved.policy == MovePolicy::promotion) moved.promoted += bytes;
  if (moved.policy == MovePolicy::evacuation)
    moved.evacuated += bytes;
  else if (goes_down_)
    moved.aged += bytes;
}

Reclaimer::Moved Reclaimer::moved() const {
  Lock lock(mutex_);
  Moved moved = moved_;
  if (moved.now) count_bytes(moved, pool_.move_pace.copied());
  return moved;
}

}  // namespace lamina
