// SPDX-License-Identifier: Apache-2.0
#include "mutations.h"

namespace lamina::sim {
namespace {

// In the order of the rules.
#define BUG(name) Mutation::name, #name
constexpr KnownMutation known[] = {
    {BUG(drop_flush), "A1", "the flush of any disk", "random", 1},
    {BUG(flush_one_disk), "A1", "the flush of all disks but one", "random", 1},
    {BUG(ack_before_record), "A1", "waiting for the records that a flush covers", "random", 2},
    {BUG(skip_checksum), "A2", "checking the payload of the log's unproven tail", "random", 3},
    {BUG(ignore_durable_through), "A2, B1", "telling corruption from a torn tail", "damage", 3},
    {BUG(seal_early), "A2", "sealing a segment when all of it is durable", "random", 1},
    {BUG(append_to_old_nodes), "A3", "new segments of nodes for a new epoch", "faults", 1},
    {BUG(write_where_cut), "A3", "keeping the log off the segment where a recovery goes on",
     "faults", 19},
    {BUG(same_numbers), "A3, A12", "the jump of checkpoint numbers with each epoch", "random", 2},
    {BUG(reuse_without_walk), "A4", "the walk that finds a segment dead", "steady", 1},
    {BUG(free_by_newest), "A4", "judging by the older of the two checkpoints", "fall_back", 6},
    {BUG(trust_unsettled), "A5", "leaving segments alone until they are settled", "steady", 1},
    {BUG(skip_bad_nodes), "A8", "freeing nothing after an unreadable node", "faults", 8},
    {BUG(forget_last_copy), "A9", "remembering that extents are shared since a copy", "random", 1},
    {BUG(fork_without_closing), "A10", "what is not merged yet, in a fork", "random", 1},
    {BUG(wipe_before_removal), "A13", "a slot without a blob before it is wiped", "members", 2},
    {BUG(use_before_member), "A13", "a slot with a blob before it is used", "members", 15},
    {BUG(move_without_summaries), "A15, B4", "the summary of what the mover wrote", "steady", 1},
    {BUG(trust_second_flush), "A19", "taking a failed flush for a loss", "faults", 5},
    {BUG(trust_failed_write), "A19", "taking a failed write of a record for a loss", "faults", 7},
    {BUG(trust_old_epoch), "A19", "ending with an epoch what it had not flushed", "faults", 30},
    {BUG(keep_old_places), "A19", "pointing maps at what was written again", "faults", 1},
    {BUG(forget_layers), "A19", "the layers of an abandoned checkpoint", "faults", 1},
    {BUG(cut_not_alone), "A19", "the flush of an epoch's cut before what follows it", "faults", 45},
    {BUG(share_what_is_lost), "A19", "the flush of what a copy shares", "faults", 6},
    {BUG(repeat_nothing), "B1", "repeating the entries of the record before", "damage", 5},
    {BUG(forget_witness), "B5", "the witness of the last flush", "damage", 3},
    {BUG(believe_reads), "B6", "comparing what is read with its checksum", "damage", 3},
    {BUG(forget_aliases), "C2", "the statements of aliases of what is moved", "steady", 2},
    {BUG(keep_behind_end), "C3", "the erase behind a new, smaller end", "random", 1},
    {BUG(forget_facts), "C4", "the zeroes that moved segments stated", "steady", 1},
    {BUG(drop_hiding_zeroes), "C4", "keeping a zero over what no stamp has ended", "steady", 1},
    {BUG(forget_moved_segments), "C4", "looking for what a zero hides in what was moved", "steady",
     1},
    {BUG(forget_ancestors), "C5", "removed ancestors in the lineage", "forks", 1},
    {BUG(keep_unlinked), "C6", "dropping at recovery what was removed while open", "random", 5},
    {BUG(trust_images), "C7", "noticing that an external image has changed", "random", 1},
    {BUG(alone_for_ever), "D3", "forks since the cut that a walk has read", "forks", 8},
    {BUG(own_shared_nodes), "D3", "telling nodes that several maps reach", "forks", 4},
    {BUG(refuse_overwrites), "D3", "overwriting for ever what a device has alone", "full", 2},
    {BUG(nothing_set_aside), "D5", "the segments set aside for the pool's own work", "full", 1},
    {BUG(forget_last_fork), "F1", "the last fork, on the side of the source", "random", 1},
};
#undef BUG

}  // namespace

std::span<const KnownMutation> known_mutations() {
  return known;
}

const KnownMutation* find_mutation(std::string_view name) {
  for (const KnownMutation& mutation : known)
    if (name == mutation.name) return &mutation;
  return nullptr;
}

}  // namespace lamina::sim
