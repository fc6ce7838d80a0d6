// SPDX-License-Identifier: Apache-2.0
#include "engine/scrub/zeroes.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/missing_disk.h"
#include "engine/mutation.h"
#include "engine/pool_state.h"
#include "engine/rebuild_scan.h"
#include "engine/space/facts.h"
#include "engine/space/read_summary.h"
#include "engine/space/walk.h"

namespace lamina {
namespace {

constexpr uint64_t extents_a_turn = uint64_t{1} << 18;
constexpr int most_turns = 3;  // until nothing that was moved waits to be published

// As the entry that states it says, and the leaf that has it.
struct Zero {
  BlockRange range;
  Sequence sequence = 0;
  Generation home = Generation::none;
  NodeId leaf = NodeId::none;
  MapId found_in = MapId::none;
  bool kept = false;
};

// Of one map, by place.
struct MapZeroes {
  std::vector<Zero> zeroes;
  std::vector<DeviceBlock> reach;  // the largest end of those up to each

  void sort() {
    std::ranges::sort(zeroes, {}, [](const Zero& zero) { return zero.range.begin; });
    DeviceBlock end{};
    for (const Zero& zero : zeroes) reach.push_back(end = std::max(end, zero.range.end));
  }
  void keep_over(BlockRange range, Sequence older) {
    const auto after = std::ranges::lower_bound(
        zeroes, range.end, {}, [](const Zero& zero) { return zero.range.begin; });
    for (auto i = static_cast<size_t>(after - zeroes.begin()); i-- > 0 && reach[i] > range.begin;)
      if (zeroes[i].range.overlaps(range) && older < zeroes[i].sequence) zeroes[i].kept = true;
  }
};

// Whether a zero over it is needed.
bool is_hidden(EntryKind kind) {
  return kind == EntryKind::write || kind == EntryKind::alias || kind == EntryKind::lost ||
         kind == EntryKind::reserve;
}

class ZeroPass {
 public:
  ZeroPass(PoolState& pool, Generation from, std::function<Result<>()> go_on)
      : pool_(pool), from_(from), go_on_(std::move(go_on)) {}

  // While nothing moves.
  Task<Result<>> run() {
    const Epoch epoch = pool_.identity.epoch;
    waits_ = pool_.checkpointer.has_moves() || !pool_.checkpointer.watch_leaves();
    if (waits_) co_return Result<>{};
    const ImagePtr image = pool_.newest_image();
    LAMINA_CO_TRY(all_disks_there());
    Task<Result<>> finding = find(image);
    LAMINA_CO_TRY(co_await finding);
    if (maps_.empty()) co_return Result<>{};
    Task<Result<>> reading = read_all();
    LAMINA_CO_TRY(co_await reading);
    publish(*image, epoch);
    co_return Result<>{};
  }

  bool waits() const { return waits_; }
  const DroppedZeroes& dropped() const { return dropped_; }

 private:
  Result<> go_on() const {
    LAMINA_TRY(go_on_());
    if (pool_.reclaimer.users_wait()) return fail(Code::busy, "users wait for space");
    return {};
  }

  Result<> all_disks_there() const {
    for (const auto& blob : pool_.blobs())
      if (is_missing(blob->disk()) || blob->disk().given_up())
        return fail(Code::io, blob->disk().name() + " is missing");
    return {};
  }

  // Homes that will state nothing more.
  std::set<Generation> homes(const Image& image) {
    std::vector<Segment> rows = pool_.space.segments();
    std::ranges::sort(rows, {}, [](const Segment& s) { return s.name.generation; });
    std::set<Generation> chosen;
    uint64_t extents = 0;
    for (const Segment& s : rows) {
      if (s.name.generation < from_ || s.use != SegmentUse::sealed || !s.holds_data() ||
          s.homes <= 0 || s.dead_in != 0 || !s.settled_before(image.cut))
        continue;
      if (extents >= extents_a_turn) {
        dropped_.next = s.name.generation;
        break;
      }
      extents += static_cast<uint64_t>(s.homes + std::max<int64_t>(0, s.live_blocks));
      chosen.insert(s.name.generation);
    }
    return chosen;
  }

  Task<Result<>> find(ImagePtr image) {
    // Nothing is found dead by it, so it is not one of the pool's walks.
    WalkOptions options;
    options.segment_blocks = pool_.space.largest_address_blocks();
    options.wanted = homes(*image);
    options.figures = false;
    options.workers = pool_.settings.workers;
    options.go_on = [this] { return go_on(); };
    if (options.wanted.empty()) co_return Result<>{};
    Task<Result<WalkResult>> walking = walk(pool_.nodes, image, std::move(options));
    auto walked = co_await walking;
    if (!walked) co_return forward_error(walked);
    std::map<Generation, std::vector<const Referrer*>> by_home;
    for (const Referrer& referrer : walked->referrers)
      if (referrer.extent.kind == ExtentKind::zero && !referrer.extent.reserved)
        by_home[referrer.extent.home].push_back(&referrer);
    for (const auto& [home, referrers] : by_home) {
      LAMINA_CO_TRY(go_on());
      Task<Result<Summary>> reading = read_summary(pool_, home);
      const auto summary = co_await reading;
      if (!summary) co_return std::unexpected<Error>(summary.error());
      const Facts facts(summary->entries);
      for (const Referrer* referrer : referrers) add(*referrer, facts, image->lineage);
    }
    for (auto& [map, zeroes] : maps_) {
      zeroes.sort();
      for (const Sight& sight : sights(image->lineage, map))
        seen_by_[sight.map].push_back({map, sight.limit});
    }
    co_return Result<>{};
  }

  // What its home does not state, or not as a zero, stays.
  void add(const Referrer& referrer, const Facts& facts, const Lineage& lineage) {
    const auto parts = facts.of(referrer.extent, sights(lineage, referrer.map));
    if (!parts) return;
    for (const Entry& part : *parts)
      if (part.kind == EntryKind::zero)
        maps_[part.map].zeroes.push_back({{part.begin, part.begin + part.length},
                                          part.sequence,
                                          referrer.extent.home,
                                          referrer.leaf,
                                          referrer.map});
  }

  // All segments that the pool has, and all else that may be believed to be one.
  Task<Result<>> read_all() {
    std::unordered_map<uint32_t, uint32_t> untold;  // by generation: where their payload ends
    // What the log is in has entries that are newer than all that is settled.
    for (const Segment& s : pool_.space.segments())
      if (s.holds_data() && (s.use != SegmentUse::open || s.kind != SegmentClass::log))
        untold[raw(s.name.generation)] = s.used_blocks;
    const std::function<Result<>(const VisitedSegment&)> each =
        [&](const VisitedSegment& segment) -> Result<> {
      const auto known = untold.find(raw(segment.name.generation));
      const bool told = segment.told && (known == untold.end() || segment.records_end == 0 ||
                                         segment.records_end >= known->second);
      if (known != untold.end() && told) untold.erase(known);
      keep_over(segment);
      return go_on();
    };
    std::vector<Blob*> blobs;
    const Blobs members = pool_.blobs();
    for (const auto& blob : members) blobs.push_back(blob.get());
    Task<Result<>> visiting = visit_segments(std::move(blobs), each);
    LAMINA_CO_TRY(co_await visiting);
    if (untold.empty()) co_return Result<>{};
    co_return fail(Code::corrupt, std::to_string(untold.size()) +
                                      " segments do not tell everything that lies in them");
  }

  void keep_over(const VisitedSegment& segment) {
    if (mutated(Mutation::drop_hiding_zeroes)) return;
    if (mutated(Mutation::forget_moved_segments) && is_moved(segment.kind)) return;
    for (const ScannedEntry& scanned : segment.entries) {
      const Entry& entry = scanned.entry;
      if (!is_hidden(entry.kind) || entry.length.value == 0) continue;
      const auto seen = seen_by_.find(entry.map);
      if (seen == seen_by_.end()) continue;
      for (const Sight& by : seen->second)
        if (entry.sequence <= by.limit)
          maps_.at(by.map).keep_over({entry.begin, entry.begin + entry.length}, entry.sequence);
    }
  }

  void publish(const Image& image, Epoch epoch) {
    PendingMoves pending;
    pending.epoch = epoch;
    pending.walked = image.cut;
    pending.whole = false;
    std::set<NodeId> leaves;
    for (const auto& [map, zeroes] : maps_)
      for (const Zero& zero : zeroes.zeroes) {
        if (zero.kept) continue;
        ++dropped_.extents;
        pending.relocations.add_hole(zero.leaf, zero.range, zero.home);
        if (leaves.insert(zero.leaf).second) pending.leaves.push_back({zero.leaf, zero.found_in});
      }
    if (!pending.empty()) pool_.checkpointer.add_moves(std::move(pending));
  }

  PoolState& pool_;
  const Generation from_;
  const std::function<Result<>()> go_on_;
  bool waits_ = false;
  DroppedZeroes dropped_;
  std::map<MapId, MapZeroes> maps_;
  // Of each map, which of those see its entries, up to which number.
  std::unordered_map<MapId, std::vector<Sight>> seen_by_;
};

}  // namespace

Task<Result<DroppedZeroes>> drop_zeroes(PoolState& pool, Generation from,
                                        std::function<Result<>()> go_on) {
  for (int turn = 0; turn < most_turns; ++turn) {
    // What was moved is published.
    Task<Result<>> merging = pool.checkpointer.run();
    LAMINA_CO_TRY(co_await merging);
    ZeroPass pass(pool, from, go_on);
    const std::function<Task<Result<>>()> work = [&pass] { return pass.run(); };
    Task<Result<>> working = pool.reclaimer.alone(work);
    LAMINA_CO_TRY(co_await working);
    if (pass.waits()) continue;
    if (pass.dropped().extents > 0) {
      Task<Result<>> publishing = pool.checkpointer.run();
      LAMINA_CO_TRY(co_await publishing);
    }
    co_return pass.dropped();
  }
  co_return fail(Code::busy, "data is being moved all the time");
}

}  // namespace lamina
