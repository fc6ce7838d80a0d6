// SPDX-License-Identifier: Apache-2.0
#include "engine/members.h"

#include <algorithm>
#include <tuple>

#include "engine/lost_data.h"
#include "engine/missing_disk.h"
#include "engine/mutation.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

// Rounds in which nothing came out of the blob: readers hold what they read, and leaves that had
// no room are tried again some checkpoints later.
constexpr int most_idle_rounds = 80;
constexpr uint64_t idle_ns = 20'000'000;
// Segments that checkpoints and the mover begin with on the other blobs of the first tier.
constexpr uint64_t least_free = 4;

std::string amount(uint64_t blocks) {
  return std::to_string(div_up(blocks * block_size, mib)) + " MiB";
}

std::string quoted(const Blob& blob) {
  return "blob \"" + blob.superblock().blob_name + "\"";
}

}  // namespace

Result<> Members::begin_change() {
  Result<> may = pool_.writable();
  Lock lock(mutex_);
  if (may && changing_)
    may = fail(Code::busy, "another blob is being added, evacuated or removed just now");
  if (may)
    changing_ = true;
  else
    refused_ = may.error().message;
  return may;
}

Task<void> Members::take_turn() {
  for (;;) {
    Completion completion;
    {
      Lock lock(mutex_);
      if (!changing_) {
        changing_ = true;
        co_return;
      }
      ended_.add(completion);
    }
    co_await completion;
  }
}

void Members::give_turn() {
  Lock lock(mutex_);
  changing_ = false;
  ended_.wake_all();
}

void Members::set_refused(const Result<>& result) {
  Lock lock(mutex_);
  refused_ = result ? "" : result.error().message;
}

std::string Members::refused() const {
  Lock lock(mutex_);
  return refused_;
}

Task<Result<>> Members::alone(std::function<Task<Result<>>()> change) {
  LAMINA_CO_TRY(begin_change());
  Task<Result<>> changing = change();
  auto changed = co_await changing;
  set_refused(changed);
  give_turn();
  co_return changed;
}

Task<Result<>> Members::evacuate(std::string name) {
  return alone([this, name = std::move(name)] { return evacuate_alone(name); });
}

Task<Result<>> Members::keep(std::string name) {
  return alone([this, name = std::move(name)] { return keep_alone(name); });
}

Task<Result<>> Members::remove(std::string name, bool accepts_loss) {
  return alone(
      [this, name = std::move(name), accepts_loss] { return remove_alone(name, accepts_loss); });
}

Task<Result<>> Members::add(std::shared_ptr<Disk> disk, NewBlob blob) {
  return alone(
      [this, disk = std::move(disk), blob = std::move(blob)] { return add_alone(disk, blob); });
}

Result<std::shared_ptr<Blob>> Members::find(const std::string& name) const {
  for (const auto& blob : pool_.blobs())
    if (blob->superblock().blob_name == name) return blob;
  return fail(Code::not_found, "the pool \"" + pool_.name + "\" has no blob \"" + name + "\"");
}

// Between checkpoints as well: tiers may get other numbers.
Task<Result<>> Members::while_nothing_moves(std::function<Task<void>()> change) {
  auto turn = pool_.reclaimer.alone([&]() -> Task<Result<>> {
    return pool_.checkpointer.between([&](Epoch) -> Task<Result<>> {
      Task<void> changing = change();
      co_await changing;
      co_return Result<>{};
    });
  });
  co_return co_await turn;
}

// ---------------------------------------------------------------- one more

Result<Superblock> Members::superblock_for(const Disk& disk, const NewBlob& blob) const {
  const Blobs blobs = pool_.blobs();
  if (blobs.size() >= slot_max_members) return fail(Code::too_big, "a pool has at most 32 blobs");
  const auto first = std::ranges::min_element(
      blobs, {}, [](const auto& other) { return other->superblock().tier; });
  Superblock superblock = (*first)->superblock();
  if (blob.tier < superblock.tier)
    return fail(Code::invalid, "tier " + std::to_string(blob.tier) +
                                   " would lie before the pool's first, which has its log");
  uint16_t id = 0;
  for (const auto& other : blobs) {
    const Superblock& theirs = other->superblock();
    if (theirs.blob_name == blob.name)
      return fail(Code::exists,
                  "the pool has a blob \"" + blob.name + "\" already, on " + other->disk().name());
    if (theirs.tier == blob.tier && theirs.kind != blob.kind)
      return fail(Code::invalid, "tier " + std::to_string(blob.tier) + " has the " +
                                     name_of(theirs.kind) + " " + quoted(*other) +
                                     "; all blobs of a tier are of one kind");
    id = std::max(id, static_cast<uint16_t>(raw(theirs.blob) + 1));
  }
  // The log's steps are as large as its smallest segments allow, and some are on their way.
  uint64_t segment_bytes = blob.segment_bytes;
  if (blob.tier == superblock.tier)
    segment_bytes = std::max(segment_bytes, uint64_t{pool_.space.segment_blocks()} * block_size);
  auto geometry = Blob::plan(disk.size(), segment_bytes, blob.erase_bytes);
  if (!geometry) return fail(geometry.error().code, disk.name() + ": " + geometry.error().message);
  superblock.blob = BlobId{id};
  superblock.blob_uuid = blob.uuid;
  superblock.blob_name = blob.name;
  superblock.kind = blob.kind;
  superblock.tier = blob.tier;
  geometry->write_to(superblock);
  return superblock;
}

Task<Result<>> Members::add_alone(std::shared_ptr<Disk> disk, NewBlob added) {
  auto superblock = superblock_for(*disk, added);
  if (!superblock) co_return forward_error(superblock);
  pool_.tell_policy(added.name, added.aging, added.level);
  const auto blob = std::make_shared<Blob>(std::move(disk), std::move(*superblock));
  // It is nobody's yet: what fails is no failure of the pool.
  Task<Result<>> wiping = blob->wipe(blob->alone());
  LAMINA_CO_TRY(co_await wiping);
  Task<Result<>> writing = blob->write_superblocks(blob->alone());
  LAMINA_CO_TRY(co_await writing);
  Task<Result<>> adopting = while_nothing_moves([&]() -> Task<void> {
    pool_.space.add(blob);
    co_return;
  });
  LAMINA_CO_TRY(co_await adopting);
  if (!mutated(Mutation::use_before_member)) LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
  pool_.space.grow();
  pool_.log.space_changed();
  pool_.look_at_space();
  pool_.start_preparing();
  pool_.start_watching_idle();
  co_return Result<>{};
}

// ---------------------------------------------------------------- emptied

Result<> Members::may_leave(const Blob& blob) const {
  const size_t tier = pool_.space.tier_of(blob.id());
  if (tier > 0) return {};
  const Blobs journals = pool_.space.blobs_of(0);
  const bool other = std::ranges::any_of(journals, [&](const auto& one) {
    return one->id() != blob.id() && pool_.space.use_of(one->id()) == BlobUse::serves;
  });
  if (other) return {};
  return fail(Code::invalid, quoted(blob) +
                                 " is the only journal blob that the pool's log can be "
                                 "in; add another one of its tier first");
}

Result<> Members::fits(BlobId id) const {
  const Space& space = pool_.space;
  const Space::Content content = space.content_of(id);
  const uint64_t saved = content.live_blocks - std::min(content.live_blocks, content.live_room);
  uint64_t left = content.live_blocks, taken = 0;
  for (const size_t to : ways_out(space, space.tier_of(id))) {
    const uint64_t capacity = space.capacity_of(to);
    uint64_t used = space.live_in(to);
    if (to == 0)
      used += space.metadata_blocks() + pool_.devices.reserved_blocks + pool_.merging_blocks +
              pool_.unmerged_blocks;
    uint64_t room = capacity - std::min(capacity, used);
    // What was compressed is so again; of what was not nobody knows how small it will be.
    const bool compresses = space.moved_class(to) == SegmentClass::frames;
    if (compresses && saved > 0 && content.live_room > 0)
      room = room * content.live_blocks / content.live_room;
    const uint64_t now = std::min(left, room);
    left -= now;
    taken += now;
  }
  const uint64_t capacity = space.capacity_blocks(), used = pool_.used_blocks_bound();
  if (left == 0 && used <= capacity && space.available(Claim::mover, 0) >= least_free) return {};
  if (left > 0)
    return fail(Code::no_space, amount(content.live_blocks) +
                                    " of data would have to go to other blobs, which have room "
                                    "for " +
                                    amount(taken) + "; add a blob, or delete or discard something");
  return fail(Code::no_space, "without it the pool would hold " + amount(capacity) + ", and " +
                                  amount(used) +
                                  " are in use; add a blob, or delete or discard something");
}

// While nothing is being moved.
Result<> Members::try_leave(const Blob& blob) {
  if (!pool_.space.let_leave(blob.id()))
    return fail(Code::no_space, "too little is free on the other blobs of its tier just now");
  auto fitting = fits(blob.id());
  if (!fitting) pool_.space.set_use(blob.id(), BlobUse::serves);
  return fitting;
}

// In memory, then in a slot.
Task<Result<>> Members::leave(std::shared_ptr<Blob> blob) {
  LAMINA_CO_TRY(may_leave(*blob));
  for (bool counted = false;; counted = true) {
    auto trying = pool_.reclaimer.alone([&]() -> Task<Result<>> { co_return try_leave(*blob); });
    auto left = co_await trying;
    if (left) break;
    if (counted || left.error().code != Code::no_space) co_return left;
    // Of what was removed and shared only a walk knows that it is dead.
    [[maybe_unused]] auto known = co_await pool_.count_figures();
  }
  auto said = co_await pool_.checkpointer.run(true);
  if (!said) pool_.space.set_use(blob->id(), BlobUse::serves);
  pool_.look_at_space();
  co_return said;
}

Task<Result<>> Members::evacuate_alone(std::string name) {
  auto blob = find(name);
  if (!blob) co_return forward_error(blob);
  const auto leaving = pool_.space.leaving();
  if (leaving && *leaving != (*blob)->id())
    co_return fail(Code::busy, quoted(pool_.space.blob(*leaving)) +
                                   " is being evacuated; one at a time: remove it, or keep it");
  if (leaving && evacuation().state == EvacuationStatus::State::running)
    co_return fail(Code::busy, quoted(**blob) + " is being evacuated already");
  if (!leaving) {
    Task<Result<>> going = leave(*blob);
    LAMINA_CO_TRY(co_await going);
  }
  pool_.space.retry_stuck((*blob)->id());
  begin_emptying(**blob);
  pool_.start_emptying();
  co_return Result<>{};
}

Task<Result<>> Members::keep_alone(std::string name) {
  auto blob = find(name);
  if (!blob) co_return forward_error(blob);
  const BlobId id = (*blob)->id();
  if (pool_.space.use_of(id) != BlobUse::leaving)
    co_return fail(Code::invalid, quoted(**blob) + " is not being evacuated");
  pool_.space.set_use(id, BlobUse::serves);
  pool_.log.space_changed();
  co_return co_await pool_.checkpointer.run(true);
}

void Members::begin_emptying(const Blob& blob) {
  Lock lock(mutex_);
  evacuation_ = {};
  evacuation_.blob = blob.superblock().blob_name;
  evacuation_.state = EvacuationStatus::State::running;
}

void Members::end_emptying(BlobId id, const Result<>& result) {
  const bool leaves = pool_.space.use_of(id) == BlobUse::leaving;
  Lock lock(mutex_);
  emptied_.wake_all();
  using State = EvacuationStatus::State;
  if (!leaves && result) {
    evacuation_ = {};
    return;
  }
  evacuation_.state = result ? State::empty : State::stopped;
  evacuation_.why = result ? "" : result.error().message;
}

Task<void> Members::until_discarded(BlobId id) {
  if (!pool_.space.is_drained(id)) co_return;
  Completion completion;
  {
    Lock lock(mutex_);
    if (evacuation_.state != EvacuationStatus::State::running) co_return;
    emptied_.add(completion);
  }
  co_await completion;
}

Task<void> Members::empty() {
  const auto id = pool_.space.leaving();
  if (!id) {  // it is kept already
    Lock lock(mutex_);
    evacuation_ = {};
    emptied_.wake_all();
    co_return;
  }
  begin_emptying(pool_.space.blob(*id));
  Task<Result<>> emptying = empty(*id);
  const Result<> result = co_await emptying;
  if (!result && !pool_.closing())
    pool_.settings.log(Settings::Severity::warning, "the evacuation of " +
                                                        quoted(pool_.space.blob(*id)) +
                                                        " has stopped: " + result.error().message);
  end_emptying(*id, result);
}

Task<Result<>> Members::empty(BlobId id) {
  int idle = 0;
  auto left = [&] {
    const Space::Content content = pool_.space.content_of(id);
    return std::pair(content.segments, content.live_blocks);
  };
  for (auto before = left(); idle < most_idle_rounds;) {
    if (pool_.closing() || pool_.space.use_of(id) != BlobUse::leaving) co_return Result<>{};
    if (pool_.space.is_empty(id)) co_return Result<>{};
    Task<Result<>> going = step(id);
    LAMINA_CO_TRY(co_await going);
    const auto after = left();
    idle = after < before ? 0 : idle + 1;
    before = after;
    if (idle > 4) co_await Sleep{idle_ns};
  }
  const Space::Content content = pool_.space.content_of(id);
  if (content.stuck > 0)
    co_return fail(Code::io, std::to_string(content.stuck) +
                                 " of its segments cannot be read; what is lost with them is in "
                                 ".lamina/lost, and `lamina blob remove --accept-loss` lets it go");
  co_return fail(Code::busy, std::to_string(content.segments) +
                                 " of its segments are still in use; try again later");
}

// D9: again at every step. Where it does not fit any more the blob serves again, since users could
// have no space left.
Task<Result<>> Members::step(BlobId id) {
  if (auto fitting = fits(id); !fitting) {
    [[maybe_unused]] auto counted = co_await pool_.count_figures();
    fitting = fits(id);
    if (!fitting) {
      pool_.space.set_use(id, BlobUse::serves);
      pool_.log.space_changed();
      LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
      co_return fitting;
    }
  }
  LAMINA_CO_TRY(co_await pool_.log.leave(id));
  LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
  co_return co_await pool_.reclaimer.move_on();
}

bool Members::to_be_emptied() const {
  Lock lock(mutex_);
  return evacuation_.state == EvacuationStatus::State::running;
}

EvacuationStatus Members::evacuation() const {
  EvacuationStatus status;
  {
    Lock lock(mutex_);
    status = evacuation_;
  }
  const auto id = pool_.space.leaving();
  if (!id) return status;
  const Space::Content content = pool_.space.content_of(*id);
  status.left_segments = content.segments;
  status.left_bytes = content.live_blocks * block_size;
  if (status.state == EvacuationStatus::State::running && content.segments == 0)
    status.state = EvacuationStatus::State::empty;
  return status;
}

// ---------------------------------------------------------------- one less

// What lies on a disk that is not there goes at once; else what is left when all that can be read
// has gone.
Task<Result<>> Members::empty_with_loss(std::shared_ptr<Blob> blob) {
  const BlobId id = blob->id();
  const auto leaving = pool_.space.leaving();
  if (leaving && *leaving != id)
    co_return fail(Code::busy, quoted(pool_.space.blob(*leaving)) + " is being evacuated");
  if (leaving && evacuation().state == EvacuationStatus::State::running)
    co_return fail(Code::busy, quoted(*blob) + " is still being evacuated");
  const bool missing = is_missing(blob->disk());
  const auto there = [this, id, missing](Generation generation) {
    const auto segment = pool_.space.segment(generation);
    return segment && segment->name.blob == id && (missing || segment->use == SegmentUse::stuck);
  };
  if (missing) {
    LAMINA_CO_TRY(co_await give_up_unreadable(pool_, there));
    LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
    LAMINA_CO_TRY(co_await pool_.count_figures());
  }
  if (!leaving) {
    Task<Result<>> going = leave(blob);
    LAMINA_CO_TRY(co_await going);
  }
  pool_.space.retry_stuck(id);
  Task<Result<>> emptying = empty(id);
  Result<> emptied = co_await emptying;
  if (emptied || pool_.space.content_of(id).stuck == 0) co_return emptied;
  LAMINA_CO_TRY(co_await give_up_unreadable(pool_, there));
  // Whoever moves by an image from before that finds the same again, and leaves it stuck.
  LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
  Task<Result<>> retrying = pool_.reclaimer.alone([this, id]() -> Task<Result<>> {
    pool_.space.retry_stuck(id);
    co_return Result<>{};
  });
  LAMINA_CO_TRY(co_await retrying);
  Task<Result<>> again = empty(id);
  co_return co_await again;
}

Task<Result<>> Members::remove_alone(std::string name, bool accepts_loss) {
  auto found = find(name);
  if (!found) co_return forward_error(found);
  const std::shared_ptr<Blob> blob = std::move(*found);
  const BlobId id = blob->id();
  LAMINA_CO_TRY(may_leave(*blob));
  co_await until_discarded(id);
  if (accepts_loss && !pool_.space.is_empty(id)) {
    Task<Result<>> emptying = empty_with_loss(blob);
    LAMINA_CO_TRY(co_await emptying);
  }
  if (!pool_.space.is_empty(id))
    co_return fail(Code::busy, quoted(*blob) + " is not empty: " +
                                   std::to_string(pool_.space.content_of(id).segments) +
                                   " of its segments are in use; evacuate it first");
  if (pool_.space.use_of(id) == BlobUse::serves) {
    Task<Result<>> going = leave(blob);
    LAMINA_CO_TRY(co_await going);
    if (!pool_.space.is_empty(id)) {  // somebody was faster
      pool_.space.set_use(id, BlobUse::serves);
      co_return fail(Code::busy, quoted(*blob) + " is not empty any more; evacuate it first");
    }
  }
  LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
  Task<Result<>> dropping = while_nothing_moves(
      [&] { return pool_.log.between_flushes(id, [&] { pool_.space.drop(id); }); });
  LAMINA_CO_TRY(co_await dropping);
  {
    Lock lock(mutex_);
    evacuation_ = {};
  }
  if (!mutated(Mutation::wipe_before_removal)) {
    LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
    LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
  }
  pool_.look_at_space();
  Task<Result<>> wiping = blob->wipe(blob->alone());
  auto wiped = co_await wiping;
  if (!wiped)
    co_return fail(Code::io, quoted(*blob) + " is removed, but its disk could not be wiped: " +
                                 wiped.error().message);
  co_return Result<>{};
}

// ---------------------------------------------------------------- the pool's face

Task<Result<>> Pool::add_blob(std::shared_ptr<Disk> disk, NewBlob blob) {
  return state_->members.add(std::move(disk), std::move(blob));
}

void Pool::note_refused(const Result<>& result) {
  state_->members.set_refused(result);
}

Task<Result<>> Pool::evacuate(std::string blob) {
  return state_->members.evacuate(std::move(blob));
}

Task<Result<>> Pool::keep(std::string blob) {
  return state_->members.keep(std::move(blob));
}

Task<Result<>> Pool::remove_blob(std::string blob, bool accepts_loss) {
  return state_->members.remove(std::move(blob), accepts_loss);
}

}  // namespace lamina
