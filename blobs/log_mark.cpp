// SPDX-License-Identifier: Apache-2.0
#include "blobs/log_mark.h"

#include "blobs/log_mark_format.h"

namespace lamina {

void pack_log_mark(const LogMark& mark, const Secret& secret, BlobId blob, uint32_t disk_block,
                   std::span<std::byte> block) {
  LAMINA_CHECK(mark.durable_through > 0);
  LogMarkFormat format{};
  format.magic = log_mark_magic;
  format.version.store(format_version);
  format.epoch.store(mark.epoch);
  format.durable_through.store(mark.durable_through);
  format.wall_ns.store(mark.wall_ns);
  format.disk_block.store(disk_block);
  format.blob.store(raw(blob));
  store_block(format, block);
  store_block_checksum(block, keyed_block_checksum(block, secret, place_outside(blob, disk_block)));
}

Result<LogMark> decode_log_mark(std::span<const std::byte> block, MetadataPlace& place) {
  if (!has_magic(block, log_mark_magic)) return fail(Code::corrupt, "no log mark");
  const auto format = load_block<LogMarkFormat>(block);
  if (format.version.load() != format_version)
    return fail(Code::unsupported, "log mark: of a format that a newer lamina made");
  place = place_outside(BlobId{format.blob.load()}, format.disk_block.load());
  const LogMark mark{format.epoch.load(), format.durable_through.load(), format.wall_ns.load()};
  if (mark.durable_through == 0 || !all_zero(format.reserved))
    return fail(Code::corrupt, "log mark: a field is out of range");
  return mark;
}

Result<LogMark> unpack_log_mark(std::span<const std::byte> block, const Secret& secret, BlobId blob,
                                uint32_t disk_block) {
  MetadataPlace claimed;
  auto mark = decode_log_mark(block, claimed);
  if (!mark) return mark;
  const MetadataPlace place = place_outside(blob, disk_block);
  if (claimed.blob != blob || claimed.block != disk_block ||
      stored_block_checksum(block) != keyed_block_checksum(block, secret, place))
    return fail(Code::corrupt, "log mark: it does not match its checksum and place");
  return mark;
}

}  // namespace lamina
