// SPDX-License-Identifier: Apache-2.0
// What is dead for certain becomes free: found, stamped, discarded, released (A4, C4).
#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "blobs/segment.h"
#include "engine/mutation.h"
#include "engine/pool_state.h"
#include "engine/space/reclaim.h"

namespace lamina {
namespace {

// Of log: free segments of a file that stay allocated before holes are punched again.
constexpr uint64_t kept_checkpoints = 3;

}  // namespace

// Which segments may be used again now (A4): what an image found dead that is not newer than K_old,
// where nobody holds an older one.
Task<Result<>> Reclaimer::free_dead() {
  const CheckpointNumber judge =
      mutated(Mutation::free_by_newest)
          ? pool_.checkpointer.number()
          : std::min(pool_.checkpointer.oldest_backed(), pool_.oldest_held());
  const ImagePtr k_old = pool_.older_image();
  std::vector<Segment> dead;
  for (const Segment& s : pool_.space.segments()) {
    const bool sealed = s.use == SegmentUse::sealed;
    const bool found_dead = sealed && s.dead_in != 0 && s.dead_in <= judge;
    const bool careless = mutated(Mutation::reuse_without_walk) && sealed && s.holds_data() &&
                          k_old && s.settled_before(k_old->cut) &&
                          s.live_blocks * 2 < s.used_blocks;
    if (s.use == SegmentUse::retired || found_dead || careless) dead.push_back(s);
  }
  for (const Segment& s : dead)
    if (s.use != SegmentUse::retired) pool_.space.retire(s.name.generation);
  if (dead.empty()) co_return Result<>{};
  co_return co_await stamp_and_release(std::move(dead));
}

// A settled segment of nodes takes no more of them: what an image does not name in it, no later one
// will.
void Reclaimer::find_dead_nodes(const Image& image) {
  std::set<Generation> named = pool_.checkpointer.tables_segments(image.number);
  image.nodes.for_each([&](NodeId, const NodeEntry& entry) {
    for (const Address& copy : entry.copies) named.insert(copy.generation);
  });
  for (const Segment& s : pool_.space.segments())
    if (s.kind == SegmentClass::nodes && s.use == SegmentUse::sealed &&
        s.settled_before(image.number) && !named.contains(s.name.generation))
      pool_.space.mark_dead(s.name.generation, image.number, image.number);
}

// C4: the stamp says durably that nothing in the segment counts any more; only then is it
// discarded, and only then free.
Task<Result<>> Reclaimer::stamp_and_release(std::vector<Segment> dead) {
  const Epoch epoch = pool_.identity.epoch;
  std::vector<Buffer> stamps;
  IoBatch writes;
  for (const Segment& s : dead) {
    Blob& blob = pool_.space.blob(s.name.blob);
    SegmentHeader header;
    header.pool = pool_.identity.pool;
    header.secret = pool_.identity.secret;
    header.blob = s.name.blob;
    header.index = s.name.index;
    header.generation = s.name.generation;
    header.kind = s.kind;
    header.state = SegmentState::retired;
    header.epoch = epoch;
    header.blocks = blob.segment_blocks();
    header.wall_ns = pool_.settings.background->wall_ns();
    stamps.emplace_back(block_size);
    pack_segment_header(header, stamps.back().span());
    writes.write(blob.disk(), blob.offset(s.name.index, 0), stamps.back().span());
    pool_.counters.add(Cause::stamps, block_size);
  }
  co_await writes;
  LAMINA_CO_TRY(writes.result());
  LAMINA_CO_TRY(co_await pool_.log.flush_all_disks(epoch));
  // A block device is told. In a file that has the log segments stay allocated while few are free:
  // punching would bring the host file system's allocation back at every flush.
  const SpaceCounts counts = pool_.space.counts();
  const uint64_t log =
      pool_.settings.checkpoint_log_bytes / (uint64_t{pool_.space.segment_blocks()} * block_size);
  const uint64_t keep = std::max(counts.total / 8, kept_checkpoints * log);
  uint64_t kept = pool_.space.prepared();
  IoBatch discards;
  for (const Segment& s : dead) {
    Blob& blob = pool_.space.blob(s.name.blob);
    const bool takes_log = !blob.disk().traits().block_device &&
                           pool_.space.tier_of(blob.id()) == 0 &&
                           pool_.space.use_of(blob.id()) == BlobUse::serves;
    const bool keeps = takes_log && kept++ < keep;
    const uint64_t offset = blob.offset(s.name.index, 0);
    if (keeps)
      discards.prepare(blob.disk(), offset, blob.segment_bytes());
    else
      discards.discard(blob.disk(), offset, blob.segment_bytes());
    if (!keeps) pool_.counters.discarded += blob.segment_bytes();
    pool_.space.mark_stamped(s.name.generation, keeps);
  }
  co_await discards;
  pool_.counters.add(Cause::zeroes, discards.zeroed());
  // The stamps say that nothing in there counts, whatever is left of it: a disk that cannot
  // discard, or a full file system under a file, is no reason to keep it.
  const Result<> discarded = discards.result();
  if (!discarded && !std::exchange(told_of_discards_, true))
    pool_.settings.log(Settings::Severity::warning,
                       "what is free could not be discarded, and is used again as it is: " +
                           discarded.error().message);
  for (const Segment& s : dead) {
    pool_.sums.forget(s.name.generation, pool_.space.blob(s.name.blob).segment_blocks());
    if (s.kind == SegmentClass::frames) pool_.frames.forget(s.name.generation);
    pool_.space.release(s.name.generation);
  }
  pool_.log.space_changed();
  Lock lock(mutex_);
  ended_.wake_all();
  co_return Result<>{};
}

}  // namespace lamina
