// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "base/check.h"
#include "engine/checkpoint_parts.h"
#include "engine/mutation.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

constexpr Sequence no_cut = std::numeric_limits<Sequence>::max();  // is past this

std::vector<EpochCut> newest_cuts(const std::vector<EpochCut>& all) {
  const size_t skip = all.size() > slot_max_cuts ? all.size() - slot_max_cuts : 0;
  return {all.begin() + static_cast<std::ptrdiff_t>(skip), all.end()};
}

}  // namespace

uint32_t generation_quota(uint64_t segments) {
  // What is taken after a slot cannot be free again before the next one (A4), so that each segment
  // is taken once at most; twice as many, for what is not thought of.
  return static_cast<uint32_t>(2 * segments + 64);
}

Checkpointer::Checkpointer(PoolState& pool) : pool_(pool) {}

void Checkpointer::resume(const Resume& at) {
  Lock lock(mutex_);
  number_ = at.number;
  oldest_backed_ = at.oldest_backed;
  next_number_ = at.next_number;
  cut_ = at.cut;
  next_node_ = raw(at.next_node);
  tables_ = {{at.number, at.tables}};
  metadata_bytes_ = at.metadata_bytes;
  extents_ = at.extents;
  used_blocks_ = at.used_blocks;
}

// False: there is a checkpoint already whose cut is past `wanted`, and nothing else to publish.
Task<Result<bool>> Checkpointer::begin_turn(Sequence wanted) {
  for (;;) {
    // Of a read-only pool layers are left as they were cut: nothing can be merged any more.
    LAMINA_CO_TRY(pool_.log.health());
    Completion completion;
    {
      Lock lock(mutex_);
      if (!running_) {
        if (cut_ >= wanted && moves_.empty() && unreachable_.empty()) co_return false;
        running_ = true;
        co_return true;
      }
      ended_.add(completion);
    }
    co_await completion;
  }
}

void Checkpointer::end_turn() {
  Lock lock(mutex_);
  running_ = false;
  forget_work();
  ended_.wake_all();
}

Task<Result<>> Checkpointer::run(bool force, bool clean) {
  Sequence wanted = no_cut;
  if (!force) {
    Lock lock(pool_.log.order());
    wanted = pool_.log.last();
  }
  const auto turn = co_await begin_turn(wanted);
  if (!turn) co_return std::unexpected(turn.error());
  if (!*turn) co_return Result<>{};
  Result<> result;
  do {
    result = co_await pool_.log.wait_until_works();
    if (!result) break;  // read-only
    result = co_await once(clean);
  } while (!result);
  end_turn();
  co_return result;
}

Task<Result<>> Checkpointer::between(std::function<Task<Result<>>(Epoch)> work) {
  const auto turn = co_await begin_turn(no_cut);
  if (!turn) co_return std::unexpected(turn.error());
  Result<> result;
  do {
    result = co_await pool_.log.wait_until_works();
    if (!result) break;  // read-only
    const Epoch epoch = pool_.identity.epoch;
    Task<Result<>> working = work(epoch);
    result = co_await working;
    if (!result) pool_.log.fail_with(result.error(), epoch);
  } while (!result);
  end_turn();
  co_return result;
}

bool Checkpointer::running() const {
  Lock lock(mutex_);
  return running_;
}

void Checkpointer::add_moves(PendingMoves moves) {
  Lock lock(mutex_);
  LAMINA_CHECK(moves_.empty());
  moves_ = std::move(moves);
}

bool Checkpointer::watch_leaves() {
  Lock lock(mutex_);
  if (!moves_.empty()) return false;  // they have been watched for since before their walk
  watching_ = true;
  reshaped_.clear();
  return true;
}

void PendingMoves::follow(const std::vector<ReshapedLeaf>& reshaped) {
  std::set<NodeId> listed;
  for (const MovedLeaf& moved : leaves) listed.insert(moved.leaf);
  for (const auto& [leaf, sources] : reshaped) {
    bool follows = false;
    for (const NodeId source : sources) {
      if (!listed.contains(source)) continue;
      relocations.follow(source, leaf.leaf);
      follows = true;
    }
    if (follows && listed.insert(leaf.leaf).second) leaves.push_back(leaf);
  }
}

void PendingMoves::keep_shared(const Space& space) {
  for (const Generation victim : victims)
    if (space.is_shared_since(victim, walked)) relocations.keep_aliases(victim, victims);
}

bool Checkpointer::has_moves() const {
  Lock lock(mutex_);
  return !moves_.empty() || moves_taken_;
}

bool Checkpointer::has_unreachable() const {
  Lock lock(mutex_);
  return !unreachable_.empty();
}

void Checkpointer::set_used_blocks(const Image& image, uint64_t blocks) {
  Lock lock(mutex_);
  used_blocks_ = std::min(used_blocks(), changed_by(blocks, added_blocks_ - image.added_blocks));
}

// A copy that was logged after the walk names the old place, and keeps it, and so does a leaf that
// could not take the new one: what they share with others lies twice from now on (D2).
uint64_t Checkpointer::left_behind(const PendingMoves& moves, const Made& made) const {
  const bool leaves = !made.merges.unmoved().empty();
  uint64_t blocks = 0;
  for (const Generation victim : moves.victims)
    if (leaves || pool_.space.is_shared_since(victim, moves.walked))
      blocks += moves.relocations.blocks_from(victim);
  return blocks;
}

void Checkpointer::drop_nodes(std::vector<NodeId> unreachable, CheckpointNumber seen_in) {
  Lock lock(mutex_);
  unreachable_ = std::move(unreachable);
  unreachable_in_ = seen_in;
}

std::vector<NodeId> Checkpointer::dropping() const {
  Lock lock(mutex_);
  return {dropping_.begin(), dropping_.end()};
}

bool Checkpointer::is_rewriting(NodeId id) const {
  Lock lock(mutex_);
  return rewriting_.contains(id);
}

std::vector<NodeId> Checkpointer::referred_to() const {
  Lock lock(mutex_);
  return referred_to_;
}

void Checkpointer::note_children(const std::vector<Child>& children) {
  if (children.empty()) return;
  Lock lock(mutex_);
  for (const Child& child : children) referred_to_.push_back(child.id);
}

bool Checkpointer::keep_nodes(std::vector<std::pair<NodeId, NodeEntry>> nodes,
                              const std::vector<NodeId>& taken, const Image& seen_in) {
  std::erase_if(nodes, [&](const auto& node) {
    const NodeEntry* entry = seen_in.nodes.find(node.first);
    return !entry || *entry != node.second;
  });
  const std::unordered_set<NodeId> meant(taken.begin(), taken.end());
  Lock lock(mutex_);
  const ImagePtr newest = pool_.newest_image();
  if (!taken.empty() && newest.get() != &seen_in) return false;
  if (std::ranges::any_of(referred_to_, [&](NodeId id) { return meant.contains(id); }))
    return false;
  for (const NodeId id : taken)
    if (rewriting_.contains(id)) return false;
  for (const auto& [id, entry] : nodes)
    if (dropping_.contains(id) || !newest->nodes.find(id)) return false;
  for (const auto& [id, entry] : nodes) kept_.insert_or_assign(id, entry);
  return true;
}

void Checkpointer::forget_work() {
  dropping_.clear();
  rewriting_.clear();
  referred_to_.clear();
}

void Checkpointer::drop_unreachable(const Cut& cut, Made& made) {
  Lock lock(mutex_);
  forget_work();  // of an attempt that failed
  for (const NodeId id : cut.unreachable) {
    const NodeEntry* entry = made.nodes.find(id);
    if (!entry || entry->checkpoint > cut.unreachable_in) continue;
    const auto kept = kept_.find(id);
    if (kept != kept_.end() && kept->second == *entry) continue;
    dropping_.insert(id);
    made.nodes.erase(id);
  }
}

// Error: something is being survived just now.
Result<> Checkpointer::take_cut(Cut& cut) {
  Lock order(pool_.log.order());
  if (!pool_.log.works()) return fail(Code::io, "the log is being written again (A19)");
  cut.log = pool_.log.cut();
  cut_under_way_ = true;
  Devices& devices = pool_.devices;
  Tables& t = cut.tables;
  t.epoch = pool_.identity.epoch;
  t.cut = cut.log.last;
  t.next_device = devices.next_device();
  t.next_map = devices.next_map();
  pool_.origins.keep(devices.forget_origins());
  t.next_origin = devices.next_origin();
  t.origins = devices.origins();
  t.root = devices.root;
  t.root_xattrs = devices.root_xattrs;
  t.epochs = pool_.epochs;
  devices.refresh_shares();
  t.lineage = devices.lineage;
  if (mutated(Mutation::forget_ancestors))
    std::erase_if(t.lineage, [&](const LineageRow& row) { return !devices.find_map(row.map); });
  t.lost = devices.lost;
  t.scrub = pool_.scrubber.position();
  devices.for_each([&](const DevicePtr& d) {
    DeviceRow row;
    row.id = d->id;
    row.name = d->name;
    row.size_bytes = d->size_bytes;
    row.attributes = d->attributes;
    row.xattrs = d->xattrs;
    row.created_ns = d->created_ns;
    row.read_only = d->read_only;
    row.origin = d->origin;
    row.reserved_blocks = d->reserved_blocks;
    row.last_fork = d->last_fork;
    row.last_share = d->last_share;
    row.last_copy = d->last_copy;
    row.origins = d->origins;
    row.map = d->map->id();
    t.devices.push_back(std::move(row));
    d->erased_blocks = 0;
    cut.stacks.push_back(d->map->cut(t.cut));
    for (const BlockRange& range : d->map->suspect()) t.suspect.push_back({d->id, {}, range});
  });
  pool_.dead_blocks += std::exchange(devices.dropped_blocks, 0);
  devices.erased_blocks = 0;
  pool_.merging_blocks += pool_.unmerged_blocks.exchange(0);
  Lock lock(mutex_);
  cut.moves = std::exchange(moves_, {});
  if (!cut.moves.empty()) {
    watching_ = false;
    cut.reshaped = std::exchange(reshaped_, {});
  }
  moves_taken_ = !cut.moves.empty();
  if (cut.moves.epoch != t.epoch) {
    // Nobody knows whether the copies are on their disks. No pointer to them will be published, so
    // they are settled, and a walk finds them dead (A5).
    for (const Generation target : cut.moves.targets) pool_.space.settle(target, t.cut);
    cut.moves = {};
  }
  cut.unreachable = std::exchange(unreachable_, {});
  cut.unreachable_in = unreachable_in_;
  return {};
}

bool Checkpointer::abandon() {
  if (!cut_under_way_) return false;
  cut_under_way_ = false;
  pool_.unmerged_blocks += pool_.merging_blocks.exchange(0);
  return true;
}

// After a failure: what take_cut() took. The layers that it closed go with the next cut.
void Checkpointer::give_back(Cut& cut, const Made& made) {
  Lock lock(mutex_);
  next_number_ = made.number + slot_ring_length;  // it ended its epoch: as after a recovery
  if (moves_.empty()) moves_ = std::move(cut.moves);
  moves_taken_ = false;
  if (unreachable_.empty()) {
    unreachable_ = std::move(cut.unreachable);
    unreachable_in_ = cut.unreachable_in;
  }
}

Task<Result<>> Checkpointer::once(bool clean) {
  Cut cut;
  // Nothing has been taken yet: try again.
  if (auto taken = take_cut(cut); !taken) co_return taken;
  CheckpointNumber number = 0;
  uint64_t next_node = 0;
  {
    Lock lock(mutex_);
    number = next_number_;
    next_node = next_node_;
  }
  Made made(pool_, cut.log.last, cut.tables.epoch, number, next_node);
  auto result = co_await make(cut, made, clean);
  if (result) pool_.healer.end_declaring();
  if (result) co_return result;
  give_back(cut, made);
  Error why = result.error();
  // A node that cannot be read: the next attempt does not fail by that one, and there are few.
  if (why.code == Code::corrupt) {
    pool_.healer.declare_lost();
    why.code = Code::io;
  }
  pool_.log.fail_with(why, cut.tables.epoch);
  co_return result;
}

Task<Result<>> Checkpointer::make(Cut& cut, Made& made, bool clean) {
  const CheckpointNumber number = made.number, before = this->number();
  made.nodes = pool_.newest_image()->nodes;
  cut.tables.number = number;
  drop_unreachable(cut, made);
  LAMINA_CO_TRY(co_await pool_.writer.leave_blobs());
  LAMINA_CO_TRY(co_await merge_all(cut, made));
  LAMINA_CO_TRY(co_await rewrite_damaged_nodes(made));
  LAMINA_CO_TRY(co_await rewrite_leaving_nodes(made));
  LAMINA_CO_TRY(co_await rewrite_sparse_nodes(made));

  // Everything that the tables and the slot name has to be on its disk, records first.
  LAMINA_CO_TRY(co_await pool_.log.flush(cut.log.last));
  LAMINA_CO_TRY(co_await pool_.log.wait_sealed(cut.log.last));
  Slot slot;
  slot.number = number;
  slot.oldest_backed = before == 0 ? number : before;
  slot.epoch = cut.tables.epoch;
  slot.cut = cut.log.last;
  slot.clean = clean;
  slot.log_segment = cut.log.segment;
  slot.log_block = cut.log.block;
  slot.log_next = cut.log.next;
  slot.last_checksum = cut.log.last_checksum;
  slot.durable_through = pool_.log.durable();
  LAMINA_CO_TRY(co_await write_tables(cut, made, slot));
  LAMINA_CO_TRY(co_await pool_.writer.write_out());
  LAMINA_CO_TRY(co_await pool_.log.flush_all_disks(cut.tables.epoch));
  slot.recent_cuts = newest_cuts(cut.tables.epochs);
  LAMINA_CO_TRY(co_await write_slot(slot));
  if (!publish(cut, made)) co_return fail(Code::io, "its epoch is over (A19)");
  pool_.space.set_generation_mark(slot.generation_mark);
  ++pool_.counters.checkpoints;
  BackedCheckpoints backed;
  {
    Lock lock(mutex_);
    number_ = number;
    moves_taken_ = false;
    oldest_backed_ = slot.oldest_backed;
    next_number_ = number + 1;
    cut_ = slot.cut;
    next_node_ = made.next_node;
    std::vector<Generation> segments;
    for (const auto& copy : slot.tables)
      for (const SlotExtent& run : copy) segments.push_back(run.segment.generation);
    tables_.emplace_back(number, std::move(segments));
    if (tables_.size() > 2) tables_.erase(tables_.begin());
    metadata_bytes_ = made.nodes.count() * block_size + slot.tables_bytes;
    // A walk may have counted meanwhile.
    const int64_t added = made.added_blocks();
    const int64_t since = added - cut.tables_added;
    used_blocks_ =
        std::min(changed_by(cut.tables.used_blocks, since), changed_by(used_blocks(), added));
    added_blocks_ += added;
    extents_ = 0;
    for (const ImageMap& m : made.maps) extents_ += m.extents;
    backed = {number, slot.oldest_backed};
    pool_.space.set_node_bytes(metadata_bytes_);
  }
  pool_.merging_blocks = 0;
  pool_.log.set_backed(backed, slot.cut);
  co_return Result<>{};
}

// False: the epoch has ended, and the cut was abandoned.
bool Checkpointer::publish(Cut& cut, Made& made) {
  auto image = std::make_shared<Image>();
  image->number = made.number;
  image->cut = cut.log.last;
  image->nodes = std::move(made.nodes);
  image->maps = made.maps;
  image->lineage = cut.tables.lineage;
  const ImagePtr before = pool_.newest_image();
  const bool same = made.nodes_put == 0 && before && before->maps == made.maps;
  image->content = same ? before->content : made.number;
  image->dead_blocks = pool_.dead_blocks;
  Image& becoming = *image;
  ImagePtr shared = std::move(image);
  made.nodes = shared->nodes;
  {
    Lock order(pool_.log.order());
    if (pool_.identity.epoch != cut.tables.epoch) return false;
    cut_under_way_ = false;
    made.left_behind = left_behind(cut.moves, made);
    {
      Lock lock(mutex_);
      becoming.added_blocks = added_blocks_ + made.added_blocks();
      if (watching_) std::ranges::move(made.reshaped, std::back_inserter(reshaped_));
    }
    pool_.devices.set_image(shared);
    // A map that was forked since the cut has what it was forked from; one that was made since
    // has no tree yet, and lets go of the image that it began from.
    pool_.devices.for_each([&](const DevicePtr& d) {
      const MapStack stack = d->map->up_to(cut.log.last);
      d->map->publish(shared, made.merges.result(stack), cut.log.last);
    });
  }
  for (const Generation target : cut.moves.targets) pool_.space.settle(target, cut.log.last);
  for (const Generation victim : cut.moves.victims) pool_.space.mark_emptied(victim);
  pool_.space.settle_nodes(made.number);
  made.counts.add_to(pool_.space);
  pool_.space.count_saved();
  pool_.add_image(std::move(shared));
  pool_.written_times.note(cut.log.last, pool_.settings.background->wall_ns());
  return true;
}

Sequence Checkpointer::cut() const {
  Lock lock(mutex_);
  return cut_;
}

CheckpointNumber Checkpointer::oldest_backed() const {
  Lock lock(mutex_);
  return oldest_backed_;
}

CheckpointNumber Checkpointer::number() const {
  Lock lock(mutex_);
  return number_;
}

std::set<Generation> Checkpointer::tables_segments(CheckpointNumber number) const {
  Lock lock(mutex_);
  std::set<Generation> all;
  for (const auto& [of, segments] : tables_)
    if (of == number) all.insert(segments.begin(), segments.end());
  return all;
}

uint64_t Checkpointer::metadata_bytes() const {
  Lock lock(mutex_);
  return metadata_bytes_;
}

uint64_t Checkpointer::extents() const {
  Lock lock(mutex_);
  return extents_;
}

uint64_t Checkpointer::used_blocks() const {
  return used_blocks_.load(std::memory_order_relaxed);
}

}  // namespace lamina
