// SPDX-License-Identifier: Apache-2.0
#include "blobs/fork_list.h"

#include <algorithm>

#include "base/check.h"
#include "base/checksum.h"

namespace lamina {

ForkList pack_fork_list(std::span<const Entry> forks) {
  std::vector<std::byte> packed;
  for (const Entry& fork : forks) {
    LAMINA_CHECK(fork.kind == EntryKind::fork && !is_fork_list(fork) && fork.sequence == 0);
    pack_entry(fork, 0, packed);
  }
  ForkList list;
  list.size_bytes = packed.size();
  list.payload.assign(reinterpret_cast<const char*>(packed.data()), packed.size());
  list.payload.resize(div_up(packed.size(), block_size) * block_size);
  list.payload += list.payload;
  return list;
}

Result<std::vector<Entry>> unpack_fork_list(const Entry& entry, std::span<const std::byte> bytes) {
  if (entry.size_bytes > bytes.size()) return fail(Code::corrupt, "a list of forks is cut short");
  std::span<const std::byte> rest = bytes.first(entry.size_bytes);
  std::vector<Entry> forks;
  while (!rest.empty()) {
    auto fork = unpack_entry(rest, entry.sequence);
    if (!fork) return forward_error(fork);
    if (fork->kind != EntryKind::fork || is_fork_list(*fork) || fork->sequence != entry.sequence)
      return fail(Code::corrupt, "a list of forks holds something else");
    forks.push_back(std::move(*fork));
  }
  return forks;
}

uint32_t fork_list_blocks(const Entry& entry) {
  return static_cast<uint32_t>(entry.length.value / 2);
}

Result<> mend_fork_list(const Entry& entry, std::span<std::byte> payload,
                        std::span<const uint32_t> checksums) {
  const uint32_t blocks = fork_list_blocks(entry);
  for (uint32_t i = 0; i < blocks; ++i) {
    const auto first = payload.subspan(uint64_t{i} * block_size, block_size);
    if (payload_checksum(first) == checksums[i]) continue;
    const auto second = payload.subspan(uint64_t{blocks + i} * block_size, block_size);
    if (payload_checksum(second) != checksums[blocks + i])
      return fail(Code::corrupt, "both copies of a list of forks are damaged");
    std::ranges::copy(second, first.begin());
  }
  return {};
}

}  // namespace lamina
