// SPDX-License-Identifier: Apache-2.0
#include "blobs/superblock.h"

#include <algorithm>
#include <bit>

#include "blobs/layout.h"
#include "blobs/segment_format.h"
#include "blobs/superblock_format.h"

namespace lamina {
namespace {

bool valid_name(const std::string& name) {
  return name.size() < sizeof(NameFormat) && name.find('\0') == std::string::npos;
}

bool valid_geometry(const Superblock& superblock) {
  if (superblock.segment_blocks < min_segment_blocks ||
      superblock.segment_blocks > max_segment_blocks || superblock.segment_count == 0 ||
      superblock.segment_count > max_segments)
    return false;
  if (superblock.erase_bytes == 0 || superblock.erase_bytes % block_size != 0 ||
      superblock.size % block_size != 0 || superblock.size > 16 * 1024 * pib - edge_bytes)
    return false;
  const uint64_t segment_bytes = uint64_t{superblock.segment_blocks} * block_size;
  const Layout layout =
      Layout::of(superblock.size, superblock.middle, segment_bytes, superblock.erase_bytes);
  return superblock.segment_count <= layout.segment_count;
}

bool valid(const Superblock& superblock) {
  return superblock.blob != BlobId::none && superblock.kind >= BlobKind::journal &&
         superblock.kind <= BlobKind::compression && valid_name(superblock.pool_name) &&
         valid_name(superblock.blob_name) && valid_geometry(superblock);
}

NameFormat pack_name(const std::string& name) {
  NameFormat format{};
  std::copy(name.begin(), name.end(), format.begin());
  return format;
}
// False: it does not end, or something lies behind the end.
bool unpack_name(const NameFormat& format, std::string& name) {
  const auto end = std::find(format.begin(), format.end(), '\0');
  name.assign(format.begin(), end);
  return end != format.end() && std::all_of(end, format.end(), [](char c) { return c == '\0'; });
}

Result<> check_features(uint64_t incompat) {
  const uint64_t unknown = incompat & ~known_incompat;
  if (unknown == 0) return {};
  return fail(Code::unsupported, "made by a newer lamina: it uses feature (incompat bit) " +
                                     std::to_string(std::countr_zero(unknown)) +
                                     ", which this version does not know; use a newer lamina");
}

}  // namespace

void pack_superblock(const Superblock& superblock, std::span<std::byte> block) {
  LAMINA_CHECK(valid(superblock));
  SuperblockFormat format{};
  format.magic = superblock_magic;
  format.version.store(format_version);
  format.tier.store(superblock.tier);
  format.compat.store(superblock.compat);
  format.ro_compat.store(superblock.ro_compat);
  format.incompat.store(superblock.incompat);
  format.pool = superblock.pool;
  format.secret = superblock.secret;
  format.blob_uuid = superblock.blob_uuid;
  format.size.store(superblock.size);
  format.middle.store(superblock.middle);
  format.created_ns.store(superblock.created_ns);
  format.segment_blocks.store(superblock.segment_blocks);
  format.segment_count.store(superblock.segment_count);
  format.erase_bytes.store(superblock.erase_bytes);
  format.blob.store(raw(superblock.blob));
  format.kind = raw(superblock.kind);
  format.pool_name = pack_name(superblock.pool_name);
  format.blob_name = pack_name(superblock.blob_name);
  store_block(format, block);
  store_block_checksum(block, plain_block_checksum(block));
}

Result<Superblock> unpack_superblock(std::span<const std::byte> block) {
  if (!has_magic(block, superblock_magic)) return fail(Code::not_found, "no lamina superblock");
  const auto format = load_block<SuperblockFormat>(block);
  if (format.checksum.load() != plain_block_checksum(block))
    return fail(Code::corrupt, "superblock: the checksum is wrong");
  if (format.version.load() != format_version)
    return fail(Code::unsupported, "made by a newer lamina: format version " +
                                       std::to_string(format.version.load()) + ", this one knows " +
                                       std::to_string(format_version) + "; use a newer lamina");
  LAMINA_TRY(check_features(format.incompat.load()));
  Superblock superblock;
  superblock.pool = format.pool;
  superblock.secret = format.secret;
  superblock.blob = BlobId{format.blob.load()};
  superblock.blob_uuid = format.blob_uuid;
  superblock.kind = BlobKind{format.kind};
  superblock.tier = format.tier.load();
  superblock.size = format.size.load();
  superblock.middle = format.middle.load();
  superblock.segment_blocks = format.segment_blocks.load();
  superblock.segment_count = format.segment_count.load();
  superblock.erase_bytes = format.erase_bytes.load();
  superblock.created_ns = format.created_ns.load();
  superblock.compat = format.compat.load();
  superblock.ro_compat = format.ro_compat.load();
  superblock.incompat = format.incompat.load();
  const bool names = unpack_name(format.pool_name, superblock.pool_name) &&
                     unpack_name(format.blob_name, superblock.blob_name);
  // A newer version may have put what a compat feature needs into the reserved bytes.
  const bool newer =
      ((superblock.compat & ~known_compat) | (superblock.ro_compat & ~known_ro_compat)) != 0;
  const bool reserved = format.reserved0 == 0 && all_zero(format.reserved1);
  if (!names || (!reserved && !newer) || !valid(superblock))
    return fail(Code::corrupt, "superblock: a value is out of range");
  return superblock;
}

const char* name_of(BlobKind kind) {
  switch (kind) {
    case BlobKind::journal:
      return "journal";
    case BlobKind::transparent:
      return "transparent";
    case BlobKind::compression:
      return "compression";
  }
  return "unknown";
}

bool needs_read_only(const Superblock& superblock) {
  return (superblock.ro_compat & ~known_ro_compat) != 0;
}

}  // namespace lamina
