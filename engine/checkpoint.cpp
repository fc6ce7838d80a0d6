// SPDX-License-Identifier: Apache-2.0
#include "engine/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <unordered_map>

#include "base/check.h"
#include "base/checksum.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

// A node segment with fewer live nodes than this part of what it could hold is emptied.
constexpr uint64_t sparse_percent = 50;
// Until the mover tries a segment again that shared leaves kept from being emptied.
constexpr uint64_t postponed_checkpoints = 32;
constexpr Sequence no_cut = std::numeric_limits<Sequence>::max();  // is past this

std::vector<EpochCut> newest_cuts(const std::vector<EpochCut>& all) {
  const size_t skip = all.size() > slot_max_cuts ? all.size() - slot_max_cuts : 0;
  return {all.begin() + static_cast<std::ptrdiff_t>(skip), all.end()};
}

// Both are bounds, so the sum may come to less than nothing.
uint64_t changed_by(uint64_t blocks, int64_t change) {
  return static_cast<uint64_t>(std::max<int64_t>(static_cast<int64_t>(blocks) + change, 0));
}

}  // namespace

uint32_t generation_quota(uint64_t segments) {
  // What is taken after a slot cannot be free again before the next one (A4), so that each segment
  // is taken once at most; twice as many, for what is not thought of.
  return static_cast<uint32_t>(2 * segments + 64);
}

// What is copied under the order lock.
struct Checkpointer::Cut {
  LogPosition log;
  std::vector<MapStack> stacks;  // of `tables.devices`, in the same order
  PendingMoves moves;
  std::vector<NodeId> unreachable;
  CheckpointNumber unreachable_in = 0;
  Tables tables;
};

namespace {

// What merges change in the counts of segments, until it is true.
class ChangedCounts final : public LiveCounts {
 public:
  void data(Generation generation, int64_t blocks) override {
    changes_[raw(generation)].blocks += blocks;
  }
  void home(Generation generation, int64_t extents) override {
    changes_[raw(generation)].homes += extents;
  }
  void add_to(std::vector<Segment>& rows) const {
    for (Segment& s : rows) {
      const auto found = changes_.find(raw(s.name.generation));
      if (found == changes_.end()) continue;
      s.live_blocks += found->second.blocks;
      s.homes += found->second.homes;
    }
  }
  void add_to(LiveCounts& counts) const {
    for (const auto& [generation, change] : changes_) {
      counts.data(Generation{generation}, change.blocks);
      counts.home(Generation{generation}, change.homes);
    }
  }

 private:
  struct Change {
    int64_t blocks = 0, homes = 0;
  };
  std::unordered_map<uint32_t, Change> changes_;
};

}  // namespace

// What the checkpoint makes: nothing of it is true before its slot.
struct Checkpointer::Made final : NodeSink {
  Made(PoolState& the_pool, Sequence cut, Epoch epoch, CheckpointNumber the_number,
       uint64_t the_next_node)
      : pool(the_pool),
        number(the_number),
        next_node(the_next_node),
        merges(the_pool, nodes, *this, counts, cut, epoch, the_number) {}

  NodeId allocate() override { return NodeId{next_node++}; }
  Task<Result<>> put(const Node& node) override;
  void erase(NodeId id) override { nodes.erase(id); }

  PoolState& pool;
  const CheckpointNumber number;
  uint64_t next_node;
  NodeTable nodes;
  uint64_t nodes_put = 0;
  ChangedCounts counts;
  MapMerges merges;
  std::vector<ImageMap> maps;
};

Task<Result<>> Checkpointer::Made::put(const Node& node) {
  Entry line;
  line.kind = EntryKind::node;
  line.node = node.header.id;
  line.birth = node.header.birth;
  line.checkpoint = number;
  auto places = co_await pool.writer.append(std::move(line));
  if (!places) co_return forward_error(places);
  auto block = std::make_shared<Buffer>(block_size);
  pack_node(node, block->span());
  for (size_t i = 0; i < 2; ++i) {
    std::memcpy(places->blocks[i].data(), block->data(), block_size);
    stamp_node(places->blocks[i], pool.identity.secret, places->keys[i]);
  }
  std::memcpy(block->data(), places->blocks[0].data(), block_size);
  NodeEntry entry;
  entry.copies = places->copies;
  entry.checkpoint = number;
  entry.level = static_cast<uint8_t>(node.header.level);
  entry.mapped_blocks = static_cast<uint32_t>(
      std::min<uint64_t>(node.header.mapped_blocks, std::numeric_limits<uint32_t>::max()));
  nodes.set(node.header.id, entry);
  ++nodes_put;
  pool.nodes.put(entry, std::move(block));
  co_return Result<>{};
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
  used_blocks_ = std::min(used_blocks_, changed_by(blocks, added_blocks_ - image.added_blocks));
}

void Checkpointer::drop_nodes(std::vector<NodeId> unreachable, CheckpointNumber seen_in) {
  Lock lock(mutex_);
  unreachable_ = std::move(unreachable);
  unreachable_in_ = seen_in;
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
  t.root = devices.root;
  t.root_xattrs = devices.root_xattrs;
  t.epochs = pool_.epochs;
  devices.refresh_shares();
  t.lineage = devices.lineage;
  t.lost = devices.lost;
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
    row.map = d->map->id();
    t.devices.push_back(std::move(row));
    cut.stacks.push_back(d->map->cut(t.cut));
  });
  pool_.dead_blocks += std::exchange(devices.dropped_blocks, 0);
  pool_.merging_blocks += pool_.unmerged_blocks.exchange(0);
  Lock lock(mutex_);
  cut.moves = std::exchange(moves_, {});
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
  if (result) co_return result;
  give_back(cut, made);
  pool_.log.fail_with(result.error(), cut.tables.epoch);
  co_return result;
}

Task<Result<>> Checkpointer::make(Cut& cut, Made& made, bool clean) {
  const CheckpointNumber number = made.number, before = this->number();
  made.nodes = pool_.newest_image()->nodes;
  cut.tables.number = number;
  for (const NodeId id : cut.unreachable)
    if (const NodeEntry* entry = made.nodes.find(id);
        entry && entry->checkpoint <= cut.unreachable_in)
      made.nodes.erase(id);
  LAMINA_CO_TRY(co_await merge_all(cut, made));
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
    const int64_t added = made.merges.added_blocks();
    used_blocks_ = std::min(cut.tables.used_blocks, changed_by(used_blocks_, added));
    added_blocks_ += added;
    extents_ = 0;
    for (const ImageMap& m : made.maps) extents_ += m.extents;
    backed = {number, slot.oldest_backed};
    pool_.space.set_node_bytes(metadata_bytes_);
  }
  pool_.merging_blocks = 0;
  pool_.log.set_backed(backed);
  co_return Result<>{};
}

Task<Result<>> Checkpointer::merge_all(Cut& cut, Made& made) {
  std::vector<DeviceRow>& rows = cut.tables.devices;
  std::vector<MergeWork> work;
  for (size_t i = 0; i < rows.size(); ++i)
    work.push_back({rows[i].map, rows[i].last_fork, rows[i].last_share, cut.stacks[i]});
  LAMINA_CO_TRY(co_await made.merges.run(std::move(work), cut.moves.relocations, cut.moves.leaves));
  if (!made.merges.unmoved().empty()) postpone(cut, made);
  uint64_t mapped = 0;
  bool shares = false;
  for (size_t i = 0; i < rows.size(); ++i) {
    ImageMap map = made.merges.result(cut.stacks[i]);
    map.map = rows[i].map;
    map.last_share = rows[i].last_share;
    rows[i].root = map.root;
    rows[i].mapped_blocks = map.mapped_blocks;
    rows[i].extents = map.extents;
    mapped += map.mapped_blocks;
    shares = shares || rows[i].last_share > 0;
    made.maps.push_back(map);
  }
  pool_.dead_blocks += made.merges.maybe_dead_blocks();
  // Without sharing the maps add up to what is used. Else it is what was used before and what came
  // in, until a walk counts it.
  Lock lock(mutex_);
  const uint64_t bound = changed_by(used_blocks_, made.merges.added_blocks());
  cut.tables.used_blocks = shares ? std::min(mapped, bound) : mapped;
  co_return Result<>{};
}

// Where a leaf could not take its new pointers, its victim is not empty. It may be some time before
// that is different.
void Checkpointer::postpone(const Cut& cut, const Made& made) {
  for (const Generation victim : cut.moves.victims)
    pool_.space.postpone(victim, made.number + postponed_checkpoints);
}

// Moving a node is one entry of the table: what is left in the emptiest node segments is written
// again, so that they can be freed whole.
Task<Result<>> Checkpointer::rewrite_sparse_nodes(Made& made) {
  struct Count {
    uint64_t live = 0, blocks = 0;
  };
  std::unordered_map<uint32_t, Count> counts;
  for (const Segment& s : pool_.space.segments())
    if (s.kind == SegmentClass::nodes && s.use == SegmentUse::sealed)
      counts[raw(s.name.generation)].blocks = pool_.space.segment_blocks();
  made.nodes.for_each([&](NodeId, const NodeEntry& entry) {
    for (const Address& copy : entry.copies)
      if (const auto found = counts.find(raw(copy.generation)); found != counts.end())
        ++found->second.live;
  });
  uint64_t segments = counts.size(), live = 0;
  for (const auto& [generation, count] : counts) live += count.live;
  // Only where node segments as a whole are mostly garbage; each copy of a node counts.
  if (segments < 8 || live * 100 >= segments * pool_.space.segment_blocks() * sparse_percent)
    co_return Result<>{};
  std::vector<NodeId> moving;
  made.nodes.for_each([&](NodeId id, const NodeEntry& entry) {
    if (entry.checkpoint == made.number) return;
    for (const Address& copy : entry.copies) {
      const auto found = counts.find(raw(copy.generation));
      if (found == counts.end()) continue;
      if (found->second.live * 100 < found->second.blocks * sparse_percent) {
        moving.push_back(id);
        return;
      }
    }
  });
  for (const NodeId id : moving) {
    const NodeEntry entry = made.nodes.at(id);
    auto block = co_await pool_.nodes.get(id, entry, false);
    if (!block) co_return forward_error(block);
    auto node = unpack_node((*block)->span());
    if (!node) co_return forward_error(node);
    node->header.checkpoint = made.number;
    LAMINA_CO_TRY(co_await made.put(*node));
  }
  co_return Result<>{};
}

Task<Result<>> Checkpointer::write_tables(Cut& cut, Made& made, Slot& slot) {
  Tables& t = cut.tables;
  // Segments of a blob that has grown are taken once this slot counts them.
  uint64_t segments = 0;
  for (const auto& blob : pool_.blobs) segments += blob->segment_count();
  const uint32_t quota = generation_quota(segments);
  t.next_node = NodeId{made.next_node};
  t.nodes = made.nodes;
  t.segments = pool_.space.segments();
  made.counts.add_to(t.segments);
  for (Segment& s : t.segments)
    for (const Generation target : cut.moves.targets)
      if (s.name.generation == target) s.settled = t.cut;
  t.next_generation = pool_.space.next_generation();
  slot.generation_mark = raw(t.next_generation) + quota;
  const std::vector<std::byte> bytes = pack_tables(t);
  slot.tables_bytes = bytes.size();
  slot.tables_checksum = plain_checksum(bytes);
  const auto count = static_cast<uint32_t>(div_up(bytes.size(), tables_page_bytes));
  for (uint32_t i = 0; i < count; ++i) {
    auto places = co_await pool_.writer.append(std::nullopt);
    if (!places) co_return forward_error(places);
    TablesPage page;
    page.number = made.number;
    page.epoch = t.epoch;
    page.cut = t.cut;
    page.index = i;
    page.count = count;
    page.bytes = std::span(bytes).subspan(i * tables_page_bytes);
    page.bytes = page.bytes.first(std::min(page.bytes.size(), tables_page_bytes));
    for (size_t c = 0; c < 2; ++c) {
      const MetadataPlace& key = places->keys[c];
      pack_tables_page(page, pool_.identity.secret, key, places->blocks[c]);
      auto& runs = slot.tables[c];
      if (!runs.empty() && runs.back().segment.generation == key.generation &&
          runs.back().block + runs.back().blocks == key.block) {
        ++runs.back().blocks;
      } else {
        if (runs.size() == slot_max_extents)
          co_return fail(Code::too_big, "the checkpoint's tables take more runs than a slot names");
        runs.push_back({{key.blob, key.segment, key.generation}, key.block, 1});
      }
    }
  }
  co_return Result<>{};
}

Task<Result<>> Checkpointer::write_slot(const Slot& named) {
  Slot slot = named;
  for (const auto& blob : pool_.blobs)
    slot.members.push_back({blob->id(), blob->superblock().blob_uuid, blob->superblock().kind,
                            blob->superblock().tier, blob->segment_count()});
  slot.wall_ns = pool_.settings.background->wall_ns();
  std::vector<Buffer> blocks;
  IoBatch writes;
  for (const auto& blob : pool_.blobs) {
    for (const uint64_t offset : blob->slot_offsets(slot.number)) {
      blocks.emplace_back(block_size);
      pack_slot(slot, pool_.identity.secret, blob->id(), static_cast<uint32_t>(offset / block_size),
                blocks.back().span());
      writes.write(blob->disk(), offset, blocks.back().span());
      pool_.counters.add(Cause::slots, block_size);
    }
  }
  co_await writes;
  LAMINA_CO_TRY(writes.result());
  co_return co_await pool_.log.flush_all_disks(slot.epoch);
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
  image->added_blocks = made.merges.added_blocks();
  {
    Lock lock(mutex_);
    image->added_blocks += added_blocks_;
  }
  ImagePtr shared = std::move(image);
  made.nodes = shared->nodes;
  {
    Lock order(pool_.log.order());
    if (pool_.identity.epoch != cut.tables.epoch) return false;
    cut_under_way_ = false;
    pool_.devices.set_image(shared);
    // A map that was forked since the cut has what it was forked from; one that was made since
    // has no tree yet, and lets go of the image that it began from.
    pool_.devices.for_each([&](const DevicePtr& d) {
      const MapStack stack = d->map->up_to(cut.log.last);
      d->map->publish(shared, made.merges.result(stack), cut.log.last);
    });
  }
  for (const Generation target : cut.moves.targets) pool_.space.settle(target, cut.log.last);
  pool_.space.settle_nodes(made.number);
  made.counts.add_to(pool_.space);
  pool_.add_image(std::move(shared));
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
  Lock lock(mutex_);
  return used_blocks_;
}

}  // namespace lamina
