// SPDX-License-Identifier: Apache-2.0
// Deliberate bugs, one at a time, to prove that the simulator would notice them. Each barrier that
// is named here asks `mutated()` at the place where it could be forgotten.
// In every normal build mutated() is false at compile time and leaves no trace; only the test
// program that defines LAMINA_MUTATIONS can switch one on.
// Thread-safety: set_mutation() before anything runs.
#pragma once

#include <cstdint>

namespace lamina {

enum class Mutation : uint8_t {
  none,
  forget_last_fork,        // a fork leaves its source the nodes that both have (F1)
  fork_without_closing,    // what is not merged yet is not part of a fork (A10)
  drop_flush,              // a flush completes without having flushed any disk (A1)
  skip_checksum,           // roll-forward past durable-through believes payload unread (A2)
  reuse_without_walk,      // a settled segment is retired without being found dead by a walk (A4)
  ack_before_record,       // a flush completes before its records are on the medium
  ignore_durable_through,  // roll-forward takes corruption below it for a torn tail (A2, B1)
  trust_second_flush,      // a failed flush is tried again, and believed (A19)
  keep_old_places,         // the maps are not pointed at what was written again (A19)
  forget_layers,           // what an abandoned checkpoint should have merged is gone (A19)
  trust_old_epoch,         // what was written before a failure is flushed after it, and believed
  append_to_old_nodes,     // nodes of a new epoch go into segments that the old one opened (A3)
  own_shared_nodes,        // a walk takes what several maps reach for the first one's alone
  alone_for_ever,          // a fork after the cut that a walk read is forgotten for it (D3)
  skip_bad_nodes,          // a walk passes over what it cannot read (A8)
  forget_facts,            // what the mover carries states no zeroes (C4)
  refuse_overwrites,       // of a full pool, also of what a device has alone (promise 4)
  nothing_set_aside,       // users may take the last free segments (D5)
  cut_not_alone,           // the rest of an epoch is written before its cut is durable (A19)
  share_what_is_lost,      // a copy shares what is not durable, and may come to lie elsewhere (A19)
  forget_aliases,          // what is moved takes no statement of its aliases along (C2)
  use_before_member,       // a new blob is filled before a slot names it (A13)
  wipe_before_removal,     // a blob is wiped while the newest slot names it (A13)
  trust_images,            // an external origin that has changed is read on (C7)
  forget_last_copy,        // what a copy shared counts as its device's own (A9)
  flush_one_disk,          // of several disks a flush flushes the first (A1)
  write_where_cut,         // the log runs on into the segment where a recovery would go on (A3)
  same_numbers,            // a new epoch's checkpoints have the numbers of a dead one's (A3, A12)
  free_by_newest,          // what K_new does not need is free, whatever K_old does (A4)
  trust_unsettled,         // a walk judges what pointers may yet be published into (A5)
  move_without_summaries,  // data is moved before the back summary says what it is (A15, B4)
  trust_failed_write,      // a record that its disk refused counts as written (A19)
  repeat_nothing,          // a record does not say what the one before covered (B1)
  forget_witness,          // nothing says that the last flush was one (B5)
  believe_reads,           // what is read is not compared with its checksum (B6)
  keep_behind_end,         // shrinking erases nothing (C3)
  forget_ancestors,        // the tables name living maps alone as ancestors (C5)
  keep_unlinked,           // what was removed while open outlives a crash (C6)
  seal_early,              // a segment's header says sealed before its records are durable (A2)
  drop_hiding_zeroes,      // a zero goes though something older of its place is left (C4)
  forget_moved_segments,   // what the mover has written does not count as left (C4)
};

#ifdef LAMINA_MUTATIONS
inline Mutation active_mutation = Mutation::none;
inline void set_mutation(Mutation mutation) {
  active_mutation = mutation;
}
inline bool mutated(Mutation mutation) {
  return active_mutation == mutation;
}
#else
constexpr bool mutated(Mutation) {
  return false;
}
#endif

}  // namespace lamina
