// SPDX-License-Identifier: Apache-2.0
#include "blobs/sim_cache.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace lamina {
namespace {

uint64_t block_of(uint64_t offset) {
  return offset >> block_shift;
}

}  // namespace

const SimCache::Page* SimCache::current(uint64_t block) const {
  const auto cached = unflushed_.find(block);
  if (cached != unflushed_.end()) return cached->second.back().page.get();
  const auto found = durable_.find(block);
  return found == durable_.end() ? nullptr : found->second.get();
}

bool SimCache::read(uint64_t offset, std::span<std::byte> into) const {
  bool readable = true;
  while (!into.empty()) {
    const size_t within = offset % block_size;
    const size_t length = std::min(into.size(), block_size - within);
    const Page* const page = current(block_of(offset));
    if (page) {
      std::memcpy(into.data(), page->data() + within, length);
    } else {
      std::memset(into.data(), 0, length);
    }
    if (unreadable_.contains(block_of(offset))) readable = false;
    offset += length;
    into = into.subspan(length);
  }
  return readable;
}

void SimCache::damage(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t within = offset % block_size;
    const size_t length = std::min(bytes.size(), block_size - within);
    const uint64_t block = block_of(offset);
    const auto damaged = [&](const PageRef& old) {
      auto page = old ? std::make_shared<Page>(*old) : std::make_shared<Page>();
      std::memcpy(page->data() + within, bytes.data(), length);
      return page;
    };
    durable_[block] = damaged(durable_[block]);
    if (const auto cached = unflushed_.find(block); cached != unflushed_.end())
      for (Version& version : cached->second) version.page = damaged(version.page);
    offset += length;
    bytes = bytes.subspan(length);
  }
}

void SimCache::fail_reads(uint64_t offset, uint64_t length) {
  if (length == 0) return;
  for (uint64_t block = block_of(offset); block <= block_of(offset + length - 1); ++block)
    unreadable_.insert(block);
}

SimCache::Ticket SimCache::begin_write(uint64_t offset, std::span<const std::byte> bytes) {
  const Ticket ticket = ++last_ticket_;
  writes_.emplace(ticket, Write{offset, {bytes.begin(), bytes.end()}});
  return ticket;
}

std::span<const std::byte> SimCache::written_bytes(Ticket ticket) const {
  return writes_.at(ticket).bytes;
}

bool SimCache::write_under_way(uint64_t offset, uint64_t length) const {
  return std::any_of(writes_.begin(), writes_.end(), [&](const auto& one) {
    const Write& write = one.second;
    return offset < write.offset + write.bytes.size() && write.offset < offset + length;
  });
}

void SimCache::apply(Ticket ticket, const Write& write,
                     const std::function<bool(size_t piece)>& kept) {
  const Ticket completed = ++last_completed_;
  for (size_t at = 0; at < write.bytes.size(); at += block_size) {
    const uint64_t block = block_of(write.offset + at);
    const Page* const old = current(block);
    auto page = old ? std::make_shared<Page>(*old) : std::make_shared<Page>();
    bool any = false;
    for (size_t piece = 0; piece < pieces_per_block; ++piece) {
      if (!kept(at / piece_size + piece)) continue;
      const size_t within = piece * piece_size;
      std::memcpy(page->data() + within, write.bytes.data() + at + within, piece_size);
      any = true;
    }
    if (!any) continue;
    unflushed_[block].push_back({completed, ticket, false, std::move(page)});
    unreadable_.erase(block);
  }
}

void SimCache::complete_write(Ticket ticket) {
  complete_write_at(ticket, writes_.at(ticket).offset);
}

void SimCache::complete_write_through(Ticket ticket) {
  const uint64_t first = block_of(writes_.at(ticket).offset);
  const uint64_t end = first + block_of(writes_.at(ticket).bytes.size());
  complete_write(ticket);
  for (uint64_t block = first; block < end; ++block) {
    // The newest there is; with it goes everything older.
    const auto cached = unflushed_.extract(block);
    durable_[block] = cached.mapped().back().page;
  }
}

void SimCache::complete_write_at(Ticket ticket, uint64_t offset) {
  const auto write = writes_.extract(ticket);
  write.mapped().offset = offset;
  apply(ticket, write.mapped(), [](size_t) { return true; });
}

void SimCache::lose_write(Ticket ticket) {
  writes_.erase(ticket);
}

void SimCache::tear_write(Ticket ticket, Random& random) {
  const auto write = writes_.extract(ticket);
  apply(ticket, write.mapped(), [&](size_t) { return random() % 2 == 0; });
}

void SimCache::flush(Ticket point) {
  for (auto it = unflushed_.begin(); it != unflushed_.end();) {
    std::vector<Version>& versions = it->second;
    const auto newest = std::find_if(versions.rbegin(), versions.rend(), [&](const Version& v) {
      return v.completed <= point && !v.doomed;
    });
    if (newest != versions.rend()) {
      durable_[it->first] = newest->page;
      // With it goes everything older: what was overwritten cannot come back.
      versions.erase(versions.begin(), newest.base());
    }
    it = versions.empty() ? unflushed_.erase(it) : std::next(it);
  }
}

void SimCache::fail_flush(Ticket point) {
  for (auto& [block, versions] : unflushed_)
    for (Version& version : versions)
      if (version.completed <= point) version.doomed = true;
}

SimCache::Ticket SimCache::begin_discard(uint64_t offset, uint64_t length) {
  const Ticket ticket = ++last_ticket_;
  discards_.emplace(ticket, Discard{offset, length});
  return ticket;
}

void SimCache::complete_discard(Ticket ticket, Random& random) {
  const auto range = discards_.extract(ticket);
  discard(range.mapped(), random);
}

void SimCache::forget_discard(Ticket ticket) {
  discards_.erase(ticket);
}

void SimCache::discard(const Discard& range, Random& random) {
  const uint64_t first = block_of(range.offset), end = block_of(range.offset + range.length);
  const auto choice = random() % 4;
  if (choice == 0) return;  // the contents stay
  // In the other cases what was in the cache is gone: older contents show, or zeroes, or garbage.
  unflushed_.erase(unflushed_.lower_bound(first), unflushed_.lower_bound(end));
  if (choice == 1) return;
  for (uint64_t block = first; block < end; ++block) durable_.erase(block);
  if (choice == 2 || first == end) return;
  // One page of it, at a few places: enough to be met, and cheap where whole disks are discarded.
  constexpr int most_garbage_blocks = 8;
  auto page = std::make_shared<Page>();
  uint64_t word = random();
  for (size_t at = 0; at < page->size(); at += sizeof word) {
    word = (word ^ (word >> 29)) * 0xd6e8feb86659fd93;
    std::memcpy(page->data() + at, &word, sizeof word);
  }
  for (int i = 0; i < most_garbage_blocks; ++i) durable_[first + random() % (end - first)] = page;
}

// One strategy per crash: uniform choice among all subsets would nearly never try the extremes.
std::map<SimCache::Ticket, SimCache::Fate> SimCache::decide_fates(Random& random) const {
  std::map<Ticket, Fate> fates;
  for (const auto& [block, versions] : unflushed_)
    for (const Version& version : versions) fates[version.write] = Fate::dropped;
  const auto strategy = random() % 6;
  const auto keep_percent = random() % 101;
  const size_t prefix = fates.empty() ? 0 : random() % (fates.size() + 1);
  size_t place = 0;
  for (auto& [write, fate] : fates) {
    switch (strategy) {
      case 0:
        fate = Fate::dropped;
        break;
      case 1:
        fate = Fate::kept;
        break;
      case 2:
        fate = place < prefix ? Fate::kept : Fate::dropped;
        break;
      case 3:  // a prefix, then one torn
        fate = place < prefix ? Fate::kept : place == prefix ? Fate::torn : Fate::dropped;
        break;
      case 4:
        fate = random() % 100 < keep_percent ? Fate::kept : Fate::dropped;
        break;
      default:
        fate = Fate::torn;
        break;
    }
    ++place;
  }
  return fates;
}

void SimCache::power_cut(Random& random) {
  for (const auto& [ticket, range] : discards_)
    if (random() % 2 == 0) discard(range, random);
  discards_.clear();
  for (const auto& [ticket, write] : writes_) apply(ticket, write, [](size_t) { return true; });
  writes_.clear();
  const std::map<Ticket, Fate> fates = decide_fates(random);
  for (const auto& [block, versions] : unflushed_) {
    PageRef& durable = durable_[block];
    auto page = durable ? std::make_shared<Page>(*durable) : std::make_shared<Page>();
    for (const Version& version : versions) {
      const Fate fate = fates.at(version.write);
      for (size_t at = 0; at < block_size; at += piece_size)
        if (fate == Fate::kept || (fate == Fate::torn && random() % 2 == 0))
          std::memcpy(page->data() + at, version.page->data() + at, piece_size);
    }
    durable = std::move(page);
  }
  unflushed_.clear();
}

void SimCache::process_killed(Random& random) {
  for (const auto& [ticket, range] : discards_)
    if (random() % 2 == 0) discard(range, random);
  discards_.clear();
  for (const auto& [ticket, write] : writes_) {
    const size_t pieces = write.bytes.size() / piece_size;
    const auto choice = random() % 3;
    const size_t done = choice == 0 ? 0 : choice == 1 ? pieces : random() % (pieces + 1);
    apply(ticket, write, [done](size_t piece) { return piece < done; });
  }
  writes_.clear();
}

}  // namespace lamina
