// SPDX-License-Identifier: Apache-2.0
#include "engine/maps/node_table.h"

#include <algorithm>

#include "base/check.h"
#include "engine/maps/node_format.h"

namespace lamina {
namespace {

// What nobody else owns may be written; everything else is copied first.
template <class T>
T& own(std::shared_ptr<T>& shared) {
  if (!shared) {
    shared = std::make_shared<T>();
  } else if (shared.use_count() > 1) {
    shared = std::make_shared<T>(*shared);
  } else {
    // Whoever was the other owner has read for the last time before it let go; use_count() alone
    // does not acquire that, but to count one owner more does. (ThreadSanitizer knows no fences.)
    [[maybe_unused]] const std::shared_ptr<T> acquired = shared;
  }
  return *shared;
}

// Seven bits a byte, low ones first, the top bit where more follow.
void put_number(std::vector<std::byte>& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::byte>(value | 0x80));
  out.push_back(static_cast<std::byte>(value));
}

bool take_number(std::span<const std::byte>& in, uint64_t& value, uint64_t most) {
  value = 0;
  for (unsigned shift = 0; shift < 64 && !in.empty(); shift += 7) {
    const auto byte = static_cast<uint64_t>(in.front());
    in = in.subspan(1);
    const uint64_t bits = byte & 0x7f;
    if (shift == 63 && bits > 1) return false;
    value |= bits << shift;
    if ((byte & 0x80) != 0) continue;
    const bool shortest = bits != 0 || shift == 0;
    return shortest && value <= most;
  }
  return false;
}

bool take_address(std::span<const std::byte>& in, Address& address) {
  uint64_t generation, block;
  if (!take_number(in, generation, UINT32_MAX) || !take_number(in, block, UINT32_MAX)) return false;
  address = {Generation{static_cast<uint32_t>(generation)}, static_cast<uint32_t>(block)};
  return true;
}

}  // namespace

const NodeEntry* NodeTable::find(NodeId id) const {
  const uint64_t number = raw(id);
  if (number >= limit_) return nullptr;
  const Branch* branch = branches_[number / (fanout * fanout)].get();
  if (!branch) return nullptr;
  const Chunk* chunk = (*branch)[number / fanout % fanout].get();
  if (!chunk) return nullptr;
  const NodeEntry& entry = (*chunk)[number % fanout];
  return entry.present() ? &entry : nullptr;
}

const NodeEntry& NodeTable::at(NodeId id) const {
  const NodeEntry* entry = find(id);
  LAMINA_CHECK(entry != nullptr);
  return *entry;
}

NodeEntry& NodeTable::writable(uint64_t id) {
  const size_t branch = id / (fanout * fanout);
  if (branch >= branches_.size()) branches_.resize(branch + 1);
  return own(own(branches_[branch])[id / fanout % fanout])[id % fanout];
}

void NodeTable::set(NodeId id, const NodeEntry& entry) {
  LAMINA_CHECK(id != NodeId::none && raw(id) < max_ids && entry.present());
  NodeEntry& place = writable(raw(id));
  if (!place.present()) ++count_;
  place = entry;
  limit_ = std::max(limit_, raw(id) + 1);
}

void NodeTable::erase(NodeId id) {
  if (!find(id)) return;
  writable(raw(id)) = NodeEntry{};
  --count_;
}

size_t NodeTable::bytes() const {
  size_t bytes = sizeof *this + branches_.capacity() * sizeof branches_[0];
  for (const auto& branch : branches_) {
    if (!branch) continue;
    bytes += sizeof *branch;
    for (const auto& chunk : *branch)
      if (chunk) bytes += sizeof *chunk;
  }
  return bytes;
}

void NodeTable::pack(std::vector<std::byte>& out) const {
  put_number(out, count_);
  uint64_t before = 0;
  for_each([&](NodeId id, const NodeEntry& entry) {
    put_number(out, raw(id) - before);
    before = raw(id);
    put_number(out, entry.level);
    for (const Address& copy : entry.copies) {
      put_number(out, raw(copy.generation));
      put_number(out, copy.block);
    }
    put_number(out, entry.checkpoint);
    put_number(out, entry.mapped_blocks);
  });
}

Result<NodeTable> NodeTable::unpack(std::span<const std::byte>& in) {
  const auto bad = [] { return fail(Code::corrupt, "the node table makes no sense"); };
  NodeTable table;
  uint64_t count, id = 0;
  if (!take_number(in, count, max_ids)) return bad();
  for (uint64_t n = 0; n < count; ++n) {
    NodeEntry entry;
    uint64_t gap, level, mapped;
    if (!take_number(in, gap, max_ids - 1 - id) || gap == 0) return bad();
    if (!take_number(in, level, node_format::max_level)) return bad();
    for (Address& copy : entry.copies)
      if (!take_address(in, copy)) return bad();
    if (!take_number(in, entry.checkpoint, UINT64_MAX)) return bad();
    if (!take_number(in, mapped, UINT32_MAX) || !entry.present()) return bad();
    entry.level = static_cast<uint8_t>(level);
    entry.mapped_blocks = static_cast<uint32_t>(mapped);
    id += gap;
    table.set(NodeId{id}, entry);
  }
  return table;
}

}  // namespace lamina
