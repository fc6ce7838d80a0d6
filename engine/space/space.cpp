// SPDX-License-Identifier: Apache-2.0
#include "engine/space/space.h"

#include <algorithm>

#include "base/check.h"
#include "engine/mutation.h"
#include "engine/space/moved_layout.h"

namespace lamina {
namespace {

constexpr uint64_t log_set_aside = 3;       // erases, removes, renames: they must always work (D5)
constexpr uint64_t checkpoint_minimum = 4;  // two copies, each may cross a segment's end
// A recovery names a chain before what the crash left is free; and each crash in a row, while it
// opens and before a checkpoint, leaves one segment of it.
constexpr uint64_t recovery_set_aside = chain_length;
// Of what data can lie in: fuller than this and cleaning copies five times what it gains.
constexpr double least_kept_back_percent = 7;
// As many as it takes to gain one more where everything is as full as that: with fewer the mover
// could not begin any more, and users would get ENOSPC for what they own.
constexpr auto mover_set_aside =
    static_cast<uint64_t>((100 - least_kept_back_percent) / least_kept_back_percent) + 1;
static_assert(mover_set_aside == 14);
// Segments that never hold users' data at rest: what the log is in and has named, two of nodes that
// are filled and two that are, and what is set aside above users where the maps are small.
constexpr uint64_t never_users = (1 + chain_length) + 4 + recovery_set_aside + log_set_aside +
                                 mover_set_aside + checkpoint_minimum;
static_assert(never_users >= 12);
// What is kept free is missing where data lies. Where g of the segments' room is not live,
// uniformly random overwriting writes each block 1 / 2g times in all, so x less costs x / 2gg: this
// much is kept free for a tenth of a write, and no more than an eighth of the pool. With less,
// checkpoints follow each other so fast that they take the processor from users.
constexpr double free_for_a_tenth = 0.2;
constexpr double most_free = 0.125;
constexpr uint64_t low_least = 4;  // segments, which a checkpoint comes with at the latest
// Copies of the maps that may have to lie on the medium at once: two each of K_old, K_new and the
// checkpoint in progress, and what is set aside for the next.
constexpr uint64_t node_copies = 8;

}  // namespace

Space::Space(const std::vector<std::unique_ptr<JournalBlob>>& blobs, double reserve_percent)
    : blobs_(blobs), kept_back_percent_(std::max(least_kept_back_percent, reserve_percent)) {
  segment_blocks_ = UINT32_MAX;
  for (const auto& blob : blobs_)
    segment_blocks_ = std::min(segment_blocks_, blob->segment_blocks());
  grow();
}

void Space::grow() {
  Lock lock(mutex_);
  rows_.resize(blobs_.size());
  free_prepared_.resize(blobs_.size());
  free_fresh_.resize(blobs_.size());
  uint64_t total = 0, blocks = 0;
  for (size_t at = 0; at < blobs_.size(); ++at) {
    const JournalBlob& blob = *blobs_[at];
    std::vector<Segment>& rows = rows_[at];
    for (auto i = static_cast<uint32_t>(rows.size()); i < blob.segment_count(); ++i) {
      rows.emplace_back().name = {blob.id(), i, Generation::none};
      free_fresh_[at].insert(free_fresh_[at].end(), i);
    }
    total += rows.size();
    blocks += rows.size() * MovedLayout(blob.segment_blocks()).payload();
  }
  const uint64_t fixed = never_users * segment_blocks_;
  total_ = total;
  const double part = (100 - kept_back_percent_) / 100;
  capacity_ =
      blocks > fixed ? static_cast<uint64_t>(static_cast<double>(blocks - fixed) * part) : 0;
}

uint32_t Space::largest_segment_blocks() const {
  uint32_t largest = 0;
  for (const auto& blob : blobs_) largest = std::max(largest, blob->segment_blocks());
  return largest;
}

size_t Space::position(BlobId id) const {
  for (size_t i = 0; i < blobs_.size(); ++i)
    if (blobs_[i]->id() == id) return i;
  LAMINA_CHECK(false && "a blob that is not of this pool");
  return 0;
}

JournalBlob& Space::blob(BlobId id) const {
  return *blobs_[position(id)];
}

Segment* Space::row(Generation generation) {
  const auto found = by_generation_.find(raw(generation));
  if (found == by_generation_.end()) return nullptr;
  return &rows_[found->second.first][found->second.second];
}

const Segment* Space::row(Generation generation) const {
  return const_cast<Space*>(this)->row(generation);
}

uint64_t Space::free_count() const {
  uint64_t count = 0;
  for (const auto& s : free_prepared_) count += s.size();
  for (const auto& s : free_fresh_) count += s.size();
  return count;
}

uint64_t Space::set_aside_above(Claim claim) const {
  uint64_t total = 0;
  for (const auto& rows : rows_) total += rows.size();
  const uint64_t segment_bytes = uint64_t{segment_blocks_} * block_size;
  const uint64_t checkpoint =
      recovery_set_aside +
      std::min(std::max(checkpoint_minimum, 4 * div_up(node_bytes_, segment_bytes)),
               std::max(checkpoint_minimum, total / 4));
  switch (claim) {
    case Claim::checkpoint:
      return 0;
    case Claim::mover:
      return checkpoint;
    case Claim::log:
      return checkpoint + mover_set_aside;
    case Claim::user:
      if (mutated(Mutation::nothing_set_aside)) return 0;
      return checkpoint + mover_set_aside + log_set_aside;
  }
  return 0;
}

uint64_t Space::left_for(Claim claim) const {
  const uint64_t free = free_count(), aside = permits_ + set_aside_above(claim);
  return free > aside ? free - aside : 0;
}

uint64_t Space::available(Claim claim) const {
  Lock lock(mutex_);
  return left_for(claim);
}

uint64_t Space::low_mark() const {
  Lock lock(mutex_);
  int64_t live = 0;
  for (const auto& rows : rows_)
    for (const Segment& s : rows) live += s.live_blocks;
  const auto total = static_cast<double>(total_);
  const double not_live =
      std::clamp(1 - static_cast<double>(live) / (total * segment_blocks_), 0.0, 1.0);
  const double part = std::min(free_for_a_tenth * not_live * not_live, most_free);
  return std::max(low_least, static_cast<uint64_t>(total * part));
}

bool Space::may_take(Claim claim) const {
  return available(claim) > 0;
}

std::optional<uint32_t> Space::pick_free(size_t position) {
  for (auto* set : {&free_prepared_[position], &free_fresh_[position]}) {
    if (set->empty()) continue;
    const uint32_t index = *set->begin();
    set->erase(set->begin());
    return index;
  }
  return std::nullopt;
}

Space::Permit::~Permit() {
  if (!space_) return;
  Lock lock(space_->mutex_);
  --space_->permits_;
}

std::optional<Space::Permit> Space::permit(Claim claim) {
  Lock lock(mutex_);
  if (left_for(claim) == 0) return std::nullopt;
  ++permits_;
  return Permit(this);
}

SegmentName Space::take(SegmentClass kind, Permit permit, BlobId avoid) {
  Lock lock(mutex_);
  LAMINA_CHECK(permit.space_ == this);
  permit.space_ = nullptr;
  --permits_;
  return take_free(kind, avoid);
}

std::optional<SegmentName> Space::take(SegmentClass kind, Claim claim, BlobId avoid) {
  Lock lock(mutex_);
  if (left_for(claim) == 0) return std::nullopt;
  return take_free(kind, avoid);
}

// Striped: the next blob in turn that has one; the one to avoid only if no other has.
SegmentName Space::take_free(SegmentClass kind, BlobId avoid) {
  for (const bool may_avoided : {false, true}) {
    for (size_t tried = 0; tried < blobs_.size(); ++tried) {
      const size_t at = (next_blob_ + tried) % blobs_.size();
      if (!may_avoided && blobs_[at]->id() == avoid && blobs_.size() > 1) continue;
      const auto index = pick_free(at);
      if (!index) continue;
      next_blob_ = at + 1;
      Segment& segment = rows_[at][*index];
      const bool prepared = segment.prepared;
      segment = Segment{};
      LAMINA_CHECK(next_generation_ < generation_mark_);
      segment.name = {blobs_[at]->id(), *index, Generation{next_generation_++}};
      segment.use = SegmentUse::open;
      segment.kind = kind;
      segment.prepared = prepared;
      by_generation_[raw(segment.name.generation)] = {static_cast<uint16_t>(at), *index};
      return segment.name;
    }
  }
  LAMINA_CHECK(false && "a free segment was promised");
  return {};
}

bool Space::is_settled(Generation generation, Sequence cut) const {
  Lock lock(mutex_);
  const Segment* segment = row(generation);
  return segment && segment->settled != 0 && segment->settled <= cut;
}

std::optional<SegmentName> Space::find(Generation generation) const {
  Lock lock(mutex_);
  const Segment* segment = row(generation);
  if (!segment) return std::nullopt;
  return segment->name;
}

std::optional<Space::Location> Space::locate(Address address) const {
  Lock lock(mutex_);
  const auto found = by_generation_.find(raw(address.generation));
  if (found == by_generation_.end()) return std::nullopt;
  JournalBlob* blob = blobs_[found->second.first].get();
  const Segment& segment = rows_[found->second.first][found->second.second];
  if (address.block >= blob->segment_blocks()) return std::nullopt;
  return Location{blob, segment.name, blob->offset(found->second.second, address.block)};
}

void Space::seal(Generation generation, uint32_t used_blocks) {
  Lock lock(mutex_);
  Segment* segment = row(generation);
  // Sealed already: again, because the first time may not have come to the disk (A19).
  LAMINA_CHECK(segment && (segment->use == SegmentUse::open || segment->use == SegmentUse::sealed));
  segment->use = SegmentUse::sealed;
  segment->used_blocks = used_blocks;
}

void Space::seal_recovered(Generation generation, uint32_t used_blocks) {
  Lock lock(mutex_);
  Segment* segment = row(generation);
  LAMINA_CHECK(segment != nullptr);
  segment->use = SegmentUse::sealed;
  segment->used_blocks = used_blocks;
}

void Space::settle(Generation generation, Sequence settled) {
  Lock lock(mutex_);
  if (Segment* segment = row(generation)) segment->settled = settled;
}

void Space::set_oldest(Generation generation, Sequence oldest) {
  Lock lock(mutex_);
  if (Segment* segment = row(generation)) segment->oldest = oldest;
}

bool Space::all_newer(Generation generation, Sequence than) const {
  if (than == 0) return true;
  Lock lock(mutex_);
  const Segment* segment = row(generation);
  return segment && segment->oldest > than;
}

void Space::settle_nodes(CheckpointNumber number) {
  Lock lock(mutex_);
  for (auto& rows : rows_)
    for (Segment& s : rows)
      if (s.kind == SegmentClass::nodes && s.use == SegmentUse::sealed && s.settled == 0)
        s.settled = number;
}

bool Space::share(Generation generation, Sequence copy) {
  Lock lock(mutex_);
  Segment* segment = row(generation);
  if (!segment) return false;
  // It cannot be on its way out: what found it dead is not newer than the image that is held.
  LAMINA_CHECK(segment->use != SegmentUse::retired);
  segment->shared = std::max(segment->shared, copy);
  segment->dead_in = 0;
  return true;
}

void Space::mark_dead(Generation generation, CheckpointNumber in, uint64_t cut) {
  Lock lock(mutex_);
  if (Segment* segment = row(generation))
    if (segment->dead_in == 0 && segment->settled_before(cut)) segment->dead_in = in;
}

void Space::mark_stuck(Generation generation) {
  Lock lock(mutex_);
  if (Segment* segment = row(generation))
    if (segment->use == SegmentUse::sealed) segment->use = SegmentUse::stuck;
}

void Space::postpone(Generation generation, CheckpointNumber until) {
  Lock lock(mutex_);
  if (Segment* segment = row(generation)) segment->not_before = until;
}

void Space::set_live(Generation generation, int64_t blocks, int64_t homes) {
  Lock lock(mutex_);
  if (Segment* segment = row(generation)) {
    segment->live_blocks = blocks;
    segment->homes = homes;
  }
}

void Space::retire(Generation generation) {
  Lock lock(mutex_);
  Segment* segment = row(generation);
  LAMINA_CHECK(segment && segment->use != SegmentUse::free);
  segment->use = SegmentUse::retired;
}

void Space::index_free(size_t position, uint32_t index) {
  auto& set = rows_[position][index].prepared ? free_prepared_[position] : free_fresh_[position];
  set.insert(index);
}

void Space::release(Generation generation) {
  Lock lock(mutex_);
  const auto found = by_generation_.find(raw(generation));
  LAMINA_CHECK(found != by_generation_.end());
  const auto [position, index] = found->second;
  by_generation_.erase(found);
  Segment& segment = rows_[position][index];
  const bool prepared = segment.prepared;
  if (segment.kind != SegmentClass::nodes) ++released_;
  segment = Segment{};
  segment.name = {blobs_[position]->id(), index, Generation::none};
  segment.prepared = prepared;
  index_free(position, index);
}

uint64_t Space::released() const {
  Lock lock(mutex_);
  return released_;
}

void Space::mark_prepared(const SegmentName& name, bool prepared) {
  Lock lock(mutex_);
  rows_[position(name.blob)][name.index].prepared = prepared;
}

std::optional<SegmentName> Space::borrow_unprepared() {
  Lock lock(mutex_);
  if (left_for(Claim::user) == 0) return std::nullopt;
  for (size_t at = 0; at < blobs_.size(); ++at) {
    if (free_fresh_[at].empty() || blobs_[at]->disk().traits().block_device) continue;
    const uint32_t index = *free_fresh_[at].begin();
    free_fresh_[at].erase(free_fresh_[at].begin());
    return SegmentName{blobs_[at]->id(), index, Generation::none};
  }
  return std::nullopt;
}

void Space::return_borrowed(const SegmentName& name, bool prepared) {
  Lock lock(mutex_);
  const size_t at = position(name.blob);
  rows_[at][name.index].prepared = prepared;
  index_free(at, name.index);
}

size_t Space::prepared() const {
  Lock lock(mutex_);
  size_t count = 0;
  for (const auto& set : free_prepared_) count += set.size();
  return count;
}

void Space::data(Generation generation, int64_t blocks) {
  Lock lock(mutex_);
  if (Segment* segment = row(generation)) segment->live_blocks += blocks;
}

void Space::home(Generation generation, int64_t extents) {
  Lock lock(mutex_);
  if (Segment* segment = row(generation)) segment->homes += extents;
}

SpaceCounts Space::counts() const {
  Lock lock(mutex_);
  SpaceCounts counts;
  for (const auto& rows : rows_) {
    counts.total += rows.size();
    for (const Segment& s : rows) {
      if (s.use == SegmentUse::open) ++counts.open;
      if (s.use == SegmentUse::sealed || s.use == SegmentUse::stuck) ++counts.sealed;
      if (s.use == SegmentUse::retired) ++counts.retired;
      if (s.use != SegmentUse::free && s.kind == SegmentClass::nodes) ++counts.node_segments;
      counts.live_blocks += s.live_blocks;
      counts.homes += s.homes;
    }
  }
  counts.free = free_count();
  return counts;
}

std::vector<Segment> Space::segments() const {
  Lock lock(mutex_);
  std::vector<Segment> used;
  for (const auto& rows : rows_)
    for (const Segment& s : rows)
      if (s.use != SegmentUse::free) used.push_back(s);
  return used;
}

void Space::load(const std::vector<Segment>& rows) {
  Lock lock(mutex_);
  for (const Segment& loaded : rows) {
    const size_t at = position(loaded.name.blob);
    Segment& segment = rows_[at][loaded.name.index];
    segment = loaded;
    free_fresh_[at].erase(loaded.name.index);
    free_prepared_[at].erase(loaded.name.index);
    by_generation_[raw(loaded.name.generation)] = {static_cast<uint16_t>(at), loaded.name.index};
  }
}

Result<> Space::claim_named(const SegmentName& name, SegmentClass kind) {
  Lock lock(mutex_);
  if (const Segment* known = row(name.generation)) {
    if (known->name == name) return {};
    return fail(Code::corrupt, "the log names a segment by a generation that another one has (A3)");
  }
  size_t at = 0;
  while (at < blobs_.size() && blobs_[at]->id() != name.blob) ++at;
  if (at == blobs_.size() || name.index >= rows_[at].size())
    return fail(Code::corrupt, "the log names a segment that no blob has (A3)");
  Segment& segment = rows_[at][name.index];
  // It may have been found dead, freed and taken again since that checkpoint: then the name is
  // newer than the one that the checkpoint knows.
  if (segment.use != SegmentUse::free) {
    if (segment.name.generation >= name.generation)
      return fail(Code::corrupt, "the log names a segment by a generation that is over (A3)");
    by_generation_.erase(raw(segment.name.generation));
    segment = Segment{};
  }
  free_fresh_[at].erase(name.index);
  free_prepared_[at].erase(name.index);
  segment.name = name;
  segment.use = SegmentUse::open;
  segment.kind = kind;
  by_generation_[raw(name.generation)] = {static_cast<uint16_t>(at), name.index};
  return {};
}

void Space::adopt_retired(const SegmentName& name, SegmentClass kind) {
  Lock lock(mutex_);
  if (row(name.generation)) return;  // the name is in use elsewhere: this one is void anyway
  const size_t at = position(name.blob);
  Segment& segment = rows_[at][name.index];
  LAMINA_CHECK(segment.use == SegmentUse::free);
  free_fresh_[at].erase(name.index);
  free_prepared_[at].erase(name.index);
  segment.name = name;
  segment.use = SegmentUse::retired;
  segment.kind = kind;
  by_generation_[raw(name.generation)] = {static_cast<uint16_t>(at), name.index};
}

std::vector<uint32_t> Space::free_segments(BlobId blob) const {
  Lock lock(mutex_);
  const size_t at = position(blob);
  std::vector<uint32_t> all(free_prepared_[at].begin(), free_prepared_[at].end());
  all.insert(all.end(), free_fresh_[at].begin(), free_fresh_[at].end());
  std::sort(all.begin(), all.end());
  return all;
}

Generation Space::next_generation() const {
  Lock lock(mutex_);
  return Generation{next_generation_};
}

void Space::set_next_generation(Generation next) {
  Lock lock(mutex_);
  LAMINA_CHECK(raw(next) >= next_generation_);
  next_generation_ = raw(next);
}

void Space::set_generation_mark(uint32_t mark) {
  Lock lock(mutex_);
  generation_mark_ = mark;
}

void Space::set_node_bytes(uint64_t bytes) {
  Lock lock(mutex_);
  node_bytes_ = bytes;
}

uint64_t Space::metadata_blocks() const {
  Lock lock(mutex_);
  return node_copies * node_bytes_ / block_size;
}

}  // namespace lamina
