// SPDX-License-Identifier: Apache-2.0
#include "engine/space/walk.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <memory>
#include <utility>

#include "engine/maps/read_ahead.h"
#include "engine/mutation.h"
#include "engine/space/reach.h"

namespace lamina {
namespace {

constexpr size_t piece_leaves = 32;    // a worker's, one after the other
constexpr size_t pieces_a_worker = 8;  // handed over at once; two such batches are held
constexpr size_t reads_ahead = 64;

// What one piece of the work refers to that others may refer to as well.
using References = std::array<std::vector<Marks::Reference>, Marks::stripes>;

// One leaf that has been read. Owners of what it points at: the batch.
struct ReadLeaf {
  NodeId id = NodeId::none;
  NodeOwners::Owner owner;
  NodeBlock block;
};

struct Batch {
  // What one piece of the work has found; one worker's.
  struct Found {
    Result<> result;
    std::vector<Referrer> referrers;
    uint64_t extents = 0;
  };
  std::vector<ReadLeaf> leaves;
  std::vector<Found> found;
  Pieces pieces;
};

class Walk {
 public:
  Walk(NodeStore& nodes, ImagePtr image, WalkOptions options)
      : nodes_(nodes),
        image_(std::move(image)),
        options_(std::move(options)),
        reach_(image_->nodes.limit()),
        tallies_(Pieces::jobs(options_.workers)),
        references_(tallies_.size()) {}

  Task<Result<WalkResult>> run() {
    Task<Result<>> reaching = reach(nodes_, *image_, options_.snapshots, options_.go_on, reach_);
    LAMINA_CO_TRY(co_await reaching);
    name_owners();
    for (bool first = true, again = true; again; first = false) {
      Task<Result<>> reading = read_leaves(first);
      LAMINA_CO_TRY(co_await reading);
      Task<void> ending = end_pass();
      co_await ending;
      again = marks_->take_pass_left();
      if (first && again)
        std::erase_if(reach_.leaves, [this](const Reach::Leaf& leaf) {
          return !shares(reach_.owners.at(leaf.id));
        });
    }
    tell();
    co_return std::move(result_);
  }

 private:
  size_t batch_leaves() const { return tallies_.size() * pieces_a_worker * piece_leaves; }

  // Whether somebody else may refer to what a leaf refers to.
  bool shares(NodeOwners::Owner owner) const {
    return owner.several || image_->maps[owner.map].last_share > 0;
  }

  // Whether a leaf is of several maps, as far as this walk believes it.
  static bool several(NodeOwners::Owner owner) {
    return owner.several && !mutated(Mutation::own_shared_nodes);
  }

  void name_owners() {
    std::vector<bool> has_leaves(image_->maps.size());
    for (const Reach::Leaf& leaf : reach_.leaves)
      if (const auto owner = reach_.owners.at(leaf.id); !several(owner))
        has_leaves[owner.map] = true;
    names_.assign(image_->maps.size(), Marks::several);
    size_t owners = 0;
    for (size_t map = 0; map < names_.size(); ++map) {
      if (!has_leaves[map] || image_->maps[map].last_share == 0) continue;
      if (owners == Marks::most_owners) options_.figures = false;
      if (!options_.figures) break;
      names_[map] = static_cast<Marks::Owner>(owners++);
    }
    // Where all leaves are shared, or none is, blocks need no owners.
    if (!options_.figures) names_.assign(names_.size(), Marks::several);
    marks_ = std::make_unique<Marks>(options_.segment_blocks, options_.memory_bytes,
                                     options_.figures ? owners : 0, !options_.snapshots.empty());
  }

  Task<Result<>> read_leaves(bool first) {
    ++result_.passes;
    if (options_.progress) options_.progress->all += reach_.leaves.size();
    ReadAhead ahead(nodes_, false, reads_ahead);
    size_t started = 0, taken = 0;
    std::unique_ptr<Batch> working;
    Result<> result;
    while (result && taken < reach_.leaves.size()) {
      auto batch = std::make_unique<Batch>();
      Task<Result<>> filling = fill(*batch, ahead, started, taken);
      result = co_await filling;
      if (working) {
        Completion& done = working->pieces.done();
        co_await done;
        result = take(*working, std::move(result));
      }
      if (result) result = options_.go_on();
      working = std::move(batch);
      start(*working, first);
      co_await Yield{};
    }
    if (working) {
      Completion& done = working->pieces.done();
      co_await done;
      result = take(*working, std::move(result));
    }
    Task<void> draining = ahead.drain();
    co_await draining;
    co_return result;
  }

  Task<Result<>> fill(Batch& batch, ReadAhead& ahead, size_t& started, size_t& taken) {
    const std::vector<Reach::Leaf>& leaves = reach_.leaves;
    while (batch.leaves.size() < batch_leaves() && taken < leaves.size()) {
      for (; started < leaves.size() && !ahead.full(); ++started)
        ahead.start(leaves[started].id, image_->nodes.at(leaves[started].id));
      const NodeId id = leaves[taken++].id;
      Task<Result<NodeBlock>> taking = ahead.take();
      Result<NodeBlock> block = co_await taking;
      if (!block && mutated(Mutation::skip_bad_nodes)) continue;
      if (!block) co_return forward_error(block);
      batch.leaves.push_back({id, reach_.owners.at(id), std::move(*block)});
    }
    co_return Result<>{};
  }

  void start(Batch& batch, bool first) {
    batch.found.resize(div_up(batch.leaves.size(), piece_leaves));
    batch.pieces.start(
        options_.workers, batch.found.size(),
        [this, &batch, first](size_t piece, size_t worker) { work(batch, piece, worker, first); });
  }

  void work(Batch& batch, size_t piece, size_t worker, bool first) {
    Batch::Found& found = batch.found[piece];
    References& references = references_[worker];
    Marks::Tally& tally = tallies_[worker];
    const size_t end = std::min(batch.leaves.size(), (piece + 1) * piece_leaves);
    for (size_t leaf = piece * piece_leaves; found.result && leaf < end; ++leaf)
      found.result = look_at(batch.leaves[leaf], first, found, references, tally);
    if (tally.full()) marks_->add(tally);
    // Not all of them in the same order, so that they do not meet.
    for (size_t i = 0; i < references.size(); ++i) {
      const size_t stripe = (i + worker * 29) % references.size();
      if (references[stripe].empty()) continue;
      marks_->add(stripe, references[stripe]);
      references[stripe].clear();
    }
  }

  // What the workers found, piece by piece, so that it does not matter who they were.
  Result<> take(Batch& batch, Result<> result) {
    for (Batch::Found& found : batch.found) {
      if (result && !found.result) result = std::move(found.result);
      result_.extents += found.extents;
      std::move(found.referrers.begin(), found.referrers.end(),
                std::back_inserter(result_.referrers));
    }
    if (options_.progress) options_.progress->done += batch.leaves.size();
    return result;
  }

  Result<> look_at(const ReadLeaf& leaf, bool first, Batch::Found& found, References& references,
                   Marks::Tally& tally) {
    Result<Node> node = unpack_node(leaf.block->span());
    if (!node) return forward_error(node);
    const bool sole = !shares(leaf.owner);
    const Marks::Owner owner = several(leaf.owner) ? Marks::several : names_[leaf.owner.map];
    if (first) list(leaf, *node, found, tally);
    for (const Extent& extent : node->extents) {
      if (!extent.stored()) continue;
      const Address at = extent.address;
      const uint64_t end = at.block + extent.length().value;
      if (end > options_.segment_blocks)
        return fail(Code::corrupt, "an extent of node " + std::to_string(raw(leaf.id)) +
                                       " does not lie in a segment");
      if (sole)
        tally.add_sole(at.generation, extent.length().value, leaf.owner.snapshots);
      else
        references[Marks::stripe_of(at.generation)].push_back(
            {at.generation, at.block, static_cast<uint32_t>(end), owner, leaf.owner.snapshots});
    }
    return {};
  }

  void list(const ReadLeaf& leaf, const Node& node, Batch::Found& found, Marks::Tally& tally) {
    found.extents += node.extents.size();
    for (const Extent& extent : node.extents) {
      const bool data = extent.kind == ExtentKind::data, has_home = !data || extent.alias;
      if (has_home) tally.add_home(extent.home);
      if ((data && is_wanted(extent)) || (has_home && is_wanted_home(extent.home)))
        found.referrers.push_back({leaf.id, image_->maps[leaf.owner.map].map, extent});
    }
  }

  bool is_wanted(const Extent& data) const {
    return options_.wanted.contains(data.address.generation) &&
           (!options_.parts || options_.parts->overlaps(data.address, data.length().value));
  }

  // What is stated without payload stays where parts are taken out.
  bool is_wanted_home(Generation home) const {
    return !options_.parts && options_.wanted.contains(home);
  }

  Task<void> end_pass() {
    for (Marks::Tally& tally : tallies_) marks_->add(tally);
    Pieces pieces;
    pieces.start(options_.workers, Marks::stripes,
                 [this](size_t stripe, size_t) { marks_->end_pass(stripe); });
    Completion& done = pieces.done();
    co_await done;
  }

  void tell() {
    result_.live = marks_->live();
    for (const auto& [generation, live] : result_.live) result_.blocks += live.blocks;
    result_.nodes = reach_.nodes;
    image_->nodes.for_each([&](NodeId id, const NodeEntry&) {
      if (!reach_.owners.reached(id)) result_.unreachable.push_back(id);
    });
    if (!options_.figures) return;
    for (size_t i = 0; i < names_.size(); ++i) {
      const ImageMap& map = image_->maps[i];
      WalkResult::Share share{map.map, map.mapped_blocks, 0};
      if (map.last_share == 0)
        share.exclusive = map.mapped_blocks;
      else if (names_[i] != Marks::several)
        share.exclusive = marks_->exclusive(names_[i]);
      result_.shares.push_back(share);
    }
    result_.shared = marks_->take_shared(options_.memory_bytes);
    result_.shared.finish(image_->cut);
  }

  NodeStore& nodes_;
  const ImagePtr image_;
  WalkOptions options_;
  Reach reach_;
  std::vector<Marks::Owner> names_;  // of the image's maps; `several`: it has no leaf alone
  std::unique_ptr<Marks> marks_;
  std::vector<Marks::Tally> tallies_;  // by worker, and so are
  std::vector<References> references_;
  WalkResult result_;
};

}  // namespace

Task<Result<WalkResult>> walk(NodeStore& nodes, ImagePtr image, WalkOptions options) {
  Walk walking(nodes, std::move(image), std::move(options));
  Task<Result<WalkResult>> running = walking.run();
  co_return co_await running;
}

}  // namespace lamina
