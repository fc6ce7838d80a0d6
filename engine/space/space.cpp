// SPDX-License-Identifier: Apache-2.0
#include "engine/space/space.h"

#include <algorithm>
#include <map>

#include "base/check.h"
#include "blobs/origin.h"
#include "engine/mutation.h"
#include "engine/space/moved_layout.h"

namespace lamina {
namespace {

// Copies of the maps that may have to lie on the medium at once: two each of K_old, K_new and the
// checkpoint in progress, and what is set aside for the next.
constexpr uint64_t node_copies = 8;

}  // namespace

Space::Space(Blobs blobs, double reserve_percent) : kept_back_percent_(reserve_percent) {
  Lock lock(mutex_);
  blobs_ = std::move(blobs);
  rank();
  take_in_segments();
}

void Space::rank() {
  std::map<uint32_t, Tier> by_number;
  for (size_t at = 0; at < blobs_.size(); ++at) {
    Tier& tier = by_number[blobs_[at]->superblock().tier];
    tier.number = blobs_[at]->superblock().tier;
    tier.kind = blobs_[at]->superblock().kind;
    tier.blobs.push_back(at);
  }
  for (size_t tier = 1; tier < permits_.size(); ++tier) LAMINA_CHECK(permits_[tier] == 0);
  tiers_.clear();
  tier_at_.resize(blobs_.size());
  for (auto& [number, tier] : by_number) {
    tier.segment_blocks = UINT32_MAX;
    for (const size_t at : tier.blobs) {
      tier_at_[at] = tiers_.size();
      tier.segment_blocks = std::min(tier.segment_blocks, blobs_[at]->segment_blocks());
    }
    tiers_.push_back(std::move(tier));
  }
  permits_.resize(tiers_.size());
  stripes_.assign(tiers_.size(), {});
  tier_count_ = tiers_.size();
  first_segment_blocks_ = tiers_.empty() ? 0 : tiers_[0].segment_blocks;
}

void Space::grow() {
  Lock lock(mutex_);
  take_in_segments();
}

void Space::add(std::shared_ptr<Blob> blob) {
  Lock lock(mutex_);
  LAMINA_CHECK(blob->superblock().tier >= tiers_[0].number);
  blobs_.push_back(std::move(blob));
  rows_.emplace_back();
  uses_.push_back(BlobUse::serves);
  free_prepared_.emplace_back();
  free_fresh_.emplace_back();
  rank();
  count_capacity();
}

void Space::drop(BlobId id) {
  Lock lock(mutex_);
  const size_t gone = position(id);
  LAMINA_CHECK(empty_at(gone) && !serves(gone));
  const auto at = static_cast<std::ptrdiff_t>(gone);
  blobs_.erase(blobs_.begin() + at);
  rows_.erase(rows_.begin() + at);
  uses_.erase(uses_.begin() + at);
  free_prepared_.erase(free_prepared_.begin() + at);
  free_fresh_.erase(free_fresh_.begin() + at);
  for (auto& [generation, place] : by_generation_)
    if (place.first > gone) --place.first;
  rank();
  count_capacity();
}

bool Space::empty_at(size_t position) const {
  return free_prepared_[position].size() + free_fresh_[position].size() == rows_[position].size();
}

bool Space::is_empty(BlobId id) const {
  Lock lock(mutex_);
  return empty_at(position(id));
}

bool Space::is_drained(BlobId id) const {
  return content_of(id).segments == 0;
}

void Space::take_in_segments() {
  rows_.resize(blobs_.size());
  uses_.resize(blobs_.size());
  free_prepared_.resize(blobs_.size());
  free_fresh_.resize(blobs_.size());
  for (size_t at = 0; at < blobs_.size(); ++at) {
    const Blob& blob = *blobs_[at];
    std::vector<Segment>& rows = rows_[at];
    for (auto i = static_cast<uint32_t>(rows.size()); i < blob.segment_count(); ++i) {
      rows.emplace_back().name = {blob.id(), i, Generation::none};
      free_fresh_[at].insert(free_fresh_[at].end(), i);
    }
  }
  count_capacity();
}

void Space::count_capacity() {
  uint64_t capacity = 0;
  for (size_t tier = 0; tier < tiers_.size(); ++tier)
    capacity += lamina::capacity_blocks(size_of(tier), kept_back_percent_);
  capacity_ = capacity;
}

TierSize Space::size_of(size_t tier) const {
  if (tier >= tiers_.size()) return {};
  TierSize size{.first = tier == 0, .segment_blocks = tiers_[tier].segment_blocks};
  for (const size_t at : tiers_[tier].blobs) {
    if (!serves(at)) continue;
    size.segments += rows_[at].size();
    size.data_blocks += rows_[at].size() * MovedLayout(blobs_[at]->segment_blocks()).payload();
  }
  return size;
}

SegmentClass Space::moved_class(size_t tier) const {
  Lock lock(mutex_);
  return tiers_[tier].kind == BlobKind::compression ? SegmentClass::frames : SegmentClass::moved;
}

size_t Space::tier_of(BlobId id) const {
  Lock lock(mutex_);
  return tier_at_[position(id)];
}

uint32_t Space::segment_blocks(size_t tier) const {
  if (tier == 0) return first_segment_blocks_.load(std::memory_order_relaxed);
  Lock lock(mutex_);
  return tiers_[tier].segment_blocks;
}

Blobs Space::blobs() const {
  Lock lock(mutex_);
  return blobs_;
}

Blobs Space::blobs_of(size_t tier) const {
  Lock lock(mutex_);
  Blobs blobs;
  if (tier < tiers_.size())
    for (const size_t at : tiers_[tier].blobs) blobs.push_back(blobs_[at]);
  return blobs;
}

uint32_t Space::largest_address_blocks() const {
  Lock lock(mutex_);
  uint32_t largest = 0;
  for (const auto& blob : blobs_) largest = std::max(largest, blob->address_blocks());
  return largest;
}

size_t Space::position(BlobId id) const {
  for (size_t i = 0; i < blobs_.size(); ++i)
    if (blobs_[i]->id() == id) return i;
  LAMINA_CHECK(false && "a blob that is not of this pool");
  return 0;
}

Blob& Space::blob(BlobId id) const {
  Lock lock(mutex_);
  return *blobs_[position(id)];
}

BlobUse Space::use_of(BlobId id) const {
  Lock lock(mutex_);
  return uses_[position(id)];
}

std::optional<BlobId> Space::leaving() const {
  Lock lock(mutex_);
  for (size_t at = 0; at < blobs_.size(); ++at)
    if (uses_[at] == BlobUse::leaving) return blobs_[at]->id();
  return std::nullopt;
}

bool Space::let_leave(BlobId id) {
  Lock lock(mutex_);
  const size_t at = position(id), tier = tier_at_[at];
  const BlobUse before = std::exchange(uses_[at], BlobUse::leaving);
  if (free_in(tier) < permits_[tier]) {
    uses_[at] = before;
    return false;
  }
  count_capacity();
  return true;
}

Space::Content Space::content_of(BlobId id) const {
  Lock lock(mutex_);
  Content content;
  const size_t at = position(id);
  content.segments = rows_[at].size() - free_prepared_[at].size() - free_fresh_[at].size();
  for (const Segment& s : rows_[at]) {
    content.segments -= s.stamped;
    if (s.use == SegmentUse::free || !s.holds_data()) continue;
    content.stuck += s.use == SegmentUse::stuck;
    content.live_blocks += static_cast<uint64_t>(std::max<int64_t>(0, s.live_blocks));
    content.live_room += s.live_room();
  }
  return content;
}

void Space::set_use(BlobId id, BlobUse use) {
  Lock lock(mutex_);
  if (use == BlobUse::serves && blobs_[position(id)]->disk().given_up()) use = BlobUse::failed;
  uses_[position(id)] = use;
  count_capacity();
}

Segment* Space::row(Generation generation) {
  const auto found = by_generation_.find(raw(generation));
  if (found == by_generation_.end()) return nullptr;
  return &rows_[found->second.first][found->second.second];
}

const Segment* Space::row(Generation generation) const {
  return const_cast<Space*>(this)->row(generation);
}

uint64_t Space::free_on(size_t position) const {
  if (!serves(position)) return 0;
  return free_prepared_[position].size() + free_fresh_[position].size();
}

uint64_t Space::free_in(size_t tier) const {
  uint64_t count = 0;
  for (const size_t at : tiers_[tier].blobs) count += free_on(at);
  return count;
}

uint64_t Space::left_for(Claim claim, size_t tier) const {
  if (tier >= tiers_.size()) return 0;
  const uint64_t free = free_in(tier);
  const uint64_t aside = permits_[tier] + set_aside_above(claim, size_of(tier), node_bytes_);
  return free > aside ? free - aside : 0;
}

uint64_t Space::available(Claim claim, size_t tier) const {
  Lock lock(mutex_);
  return left_for(claim, tier);
}

uint64_t Space::live_of(size_t tier) const {
  if (tier >= tiers_.size()) return 0;
  uint64_t live = 0;
  for (const size_t at : tiers_[tier].blobs)
    if (serves(at))
      for (const Segment& s : rows_[at]) live += s.live_room();
  return live;
}

void Space::count_saved() {
  Lock lock(mutex_);
  uint64_t saved = 0;
  for (const Tier& tier : tiers_) {
    if (tier.kind != BlobKind::compression) continue;
    for (const size_t at : tier.blobs)
      for (const Segment& s : rows_[at])
        if (s.addressed > 0 && s.live_blocks > 0)
          saved += static_cast<uint64_t>(s.live_blocks) -
                   std::min(static_cast<uint64_t>(s.live_blocks), s.live_room());
  }
  saved_ = saved;
}

bool Space::is_compressed(Generation generation) const {
  Lock lock(mutex_);
  const Segment* segment = row(generation);
  return segment && segment->kind == SegmentClass::frames;
}

uint64_t Space::live_in(size_t tier) const {
  Lock lock(mutex_);
  return live_of(tier);
}

uint64_t Space::low_mark(size_t tier) const {
  Lock lock(mutex_);
  if (tier >= tiers_.size()) return 0;
  return lamina::low_mark(size_of(tier), live_of(tier));
}

uint64_t Space::capacity_of(size_t tier) const {
  Lock lock(mutex_);
  return lamina::capacity_blocks(size_of(tier), kept_back_percent_);
}

uint64_t Space::total() const {
  Lock lock(mutex_);
  uint64_t total = 0;
  for (const auto& rows : rows_) total += rows.size();
  return total;
}

bool Space::may_take(Claim claim, size_t tier) const {
  return available(claim, tier) > 0;
}

std::optional<uint32_t> Space::pick_free(size_t position) {
  if (!serves(position)) return std::nullopt;
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
  --space_->permits_[tier_];
}

std::optional<Space::Permit> Space::permit(Claim claim, size_t tier) {
  Lock lock(mutex_);
  if (left_for(claim, tier) == 0) return std::nullopt;
  ++permits_[tier];
  return Permit(this, tier);
}

std::optional<SegmentName> Space::take(SegmentClass kind, Permit permit, BlobId avoid) {
  Lock lock(mutex_);
  LAMINA_CHECK(permit.space_ == this);
  permit.space_ = nullptr;
  --permits_[permit.tier_];
  return take_free(kind, permit.tier_, avoid);
}

std::optional<SegmentName> Space::take(SegmentClass kind, Claim claim, size_t tier, BlobId avoid) {
  Lock lock(mutex_);
  if (left_for(claim, tier) == 0) return std::nullopt;
  return take_free(kind, tier, avoid);
}

std::optional<SegmentName> Space::take_elsewhere(SegmentClass kind, Claim claim, BlobId than) {
  Lock lock(mutex_);
  for (size_t tier = 0; tier < tiers_.size(); ++tier) {
    // Not what users' data below the first tier, or its cleaning, is to have.
    if (left_for(tier == 0 ? claim : Claim::user, tier) == 0) continue;
    for (const size_t at : tiers_[tier].blobs)
      if (blobs_[at]->id() != than)
        if (const auto taken = take_on(kind, at)) return taken;
  }
  if (left_for(claim, 0) == 0) return std::nullopt;
  return take_free(kind, 0, BlobId::none);
}

// Striped; from the one to avoid only if no other has any.
std::optional<SegmentName> Space::take_free(SegmentClass kind, size_t tier, BlobId avoid) {
  const std::vector<size_t>& blobs = tiers_[tier].blobs;
  std::vector<uint64_t> free(blobs.size());
  for (const bool may_avoided : {false, true}) {
    for (size_t i = 0; i < blobs.size(); ++i)
      free[i] = may_avoided || blobs_[blobs[i]]->id() != avoid ? free_on(blobs[i]) : 0;
    if (const auto turn = stripes_[tier].next(free)) return take_on(kind, blobs[*turn]);
  }
  return std::nullopt;
}

std::optional<SegmentName> Space::take_on(SegmentClass kind, size_t position) {
  const auto index = pick_free(position);
  if (!index) return std::nullopt;
  Segment& segment = rows_[position][*index];
  const bool prepared = segment.prepared;
  segment = Segment{};
  LAMINA_CHECK(next_generation_ < std::min(generation_mark_, first_origin_generation));
  segment.name = {blobs_[position]->id(), *index, Generation{next_generation_++}};
  segment.use = SegmentUse::open;
  segment.kind = kind;
  segment.prepared = prepared;
  by_generation_[raw(segment.name.generation)] = {static_cast<uint16_t>(position), *index};
  return segment.name;
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

std::optional<Segment> Space::segment(Generation generation) const {
  Lock lock(mutex_);
  const Segment* segment = row(generation);
  if (!segment) return std::nullopt;
  return *segment;
}

std::optional<Space::Location> Space::locate(Address address) const {
  Lock lock(mutex_);
  const auto found = by_generation_.find(raw(address.generation));
  if (found == by_generation_.end()) return std::nullopt;
  Blob* blob = blobs_[found->second.first].get();
  const Segment& segment = rows_[found->second.first][found->second.second];
  const bool frames = segment.kind == SegmentClass::frames;
  if (address.block >= (frames ? blob->address_blocks() : blob->segment_blocks()))
    return std::nullopt;
  return Location{blob, segment.name, segment.kind,
                  frames ? 0 : blob->offset(found->second.second, address.block)};
}

void Space::note_read(Generation generation, uint64_t blocks) {
  Lock lock(mutex_);
  if (Segment* segment = row(generation)) segment->reads += blocks;
}

void Space::set_pinned(const std::unordered_map<uint32_t, uint64_t>& blocks) {
  Lock lock(mutex_);
  for (std::vector<Segment>& rows : rows_)
    for (Segment& s : rows) {
      const auto found = blocks.find(raw(s.name.generation));
      s.pinned = found == blocks.end() ? 0 : found->second;
    }
}

void Space::forget_reads(size_t tier) {
  Lock lock(mutex_);
  for (const size_t at : tiers_[tier].blobs)
    for (Segment& s : rows_[at]) s.reads /= 2;
}

void Space::seal(Generation generation, uint32_t used_blocks, uint32_t addressed) {
  Lock lock(mutex_);
  Segment* segment = row(generation);
  // Sealed already: again, because the first time may not have come to the disk (A19).
  LAMINA_CHECK(segment && (segment->use == SegmentUse::open || segment->use == SegmentUse::sealed));
  segment->use = SegmentUse::sealed;
  segment->used_blocks = used_blocks;
  segment->addressed = addressed;
}

void Space::seal_recovered(Generation generation, uint32_t used_blocks, uint32_t addressed) {
  Lock lock(mutex_);
  Segment* segment = row(generation);
  LAMINA_CHECK(segment != nullptr);
  segment->use = SegmentUse::sealed;
  segment->used_blocks = used_blocks;
  segment->addressed = addressed;
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

bool Space::is_shared_since(Generation generation, Sequence cut) const {
  Lock lock(mutex_);
  const Segment* segment = row(generation);
  return segment && segment->shared > cut;
}

void Space::mark_dead(Generation generation, CheckpointNumber in, uint64_t cut) {
  Lock lock(mutex_);
  if (Segment* segment = row(generation))
    if (segment->dead_in == 0 &&
        (segment->settled_before(cut) || mutated(Mutation::trust_unsettled)))
      segment->dead_in = std::max(in, told_);
}

void Space::mark_stuck(Generation generation) {
  Lock lock(mutex_);
  if (Segment* segment = row(generation))
    if (segment->use == SegmentUse::sealed) segment->use = SegmentUse::stuck;
}

void Space::retry_stuck(BlobId id) {
  Lock lock(mutex_);
  for (Segment& s : rows_[position(id)]) {
    if (s.use == SegmentUse::stuck) s.use = SegmentUse::sealed;
    s.not_before = 0;
  }
}

void Space::mark_emptied(Generation generation) {
  Lock lock(mutex_);
  if (Segment* segment = row(generation)) segment->emptied = true;
}

bool Space::is_emptied(Generation generation) const {
  Lock lock(mutex_);
  const Segment* segment = row(generation);
  return segment && segment->emptied;
}

void Space::postpone(Generation generation, CheckpointNumber until) {
  Lock lock(mutex_);
  if (Segment* segment = row(generation)) segment->not_before = until;
}

void Space::set_live(Generation generation, int64_t blocks, int64_t homes, uint64_t of_snapshots) {
  Lock lock(mutex_);
  if (Segment* segment = row(generation)) {
    segment->live_blocks = blocks;
    segment->homes = homes;
    segment->of_snapshots = of_snapshots;
  }
}

void Space::retire(Generation generation) {
  Lock lock(mutex_);
  Segment* segment = row(generation);
  LAMINA_CHECK(segment && segment->use != SegmentUse::free);
  segment->use = SegmentUse::retired;
}

void Space::mark_stamped(Generation generation, bool prepared) {
  Lock lock(mutex_);
  Segment* segment = row(generation);
  LAMINA_CHECK(segment && segment->use == SegmentUse::retired);
  segment->stamped = true;
  segment->prepared = prepared;
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

std::optional<SegmentName> Space::borrow_unprepared() {
  Lock lock(mutex_);
  if (left_for(Claim::user, 0) == 0) return std::nullopt;
  for (const size_t at : tiers_[0].blobs) {
    if (!serves(at) || free_fresh_[at].empty() || blobs_[at]->disk().traits().block_device)
      continue;
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
  for (const size_t at : tiers_[0].blobs)
    if (serves(at)) count += free_prepared_[at].size();
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
      if (s.is_filled()) ++counts.sealed;
      if (s.use == SegmentUse::retired) ++counts.retired;
      if (s.use != SegmentUse::free && s.kind == SegmentClass::nodes) ++counts.node_segments;
      counts.live_blocks += s.live_blocks;
      counts.homes += s.homes;
    }
  }
  for (size_t at = 0; at < blobs_.size(); ++at) counts.free += free_on(at);
  return counts;
}

std::vector<Segment> Space::segments() const {
  Lock lock(mutex_);
  return all();
}

std::vector<Segment> Space::all() const {
  std::vector<Segment> used;
  for (const auto& rows : rows_)
    for (const Segment& s : rows)
      if (s.use != SegmentUse::free) used.push_back(s);
  return used;
}

std::vector<Segment> Space::tell_tables(CheckpointNumber number) {
  Lock lock(mutex_);
  told_ = number;
  return all();
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
  return node_copies * node_bytes_.load(std::memory_order_relaxed) / block_size;
}

}  // namespace lamina
