// SPDX-License-Identifier: Apache-2.0
#include "tools/signature.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "base/units.h"
#include "blobs/superblock.h"

namespace lamina {
namespace {

using std::string_view_literals::operator""sv;

struct Mark {
  int64_t offset;  // negative: from the end
  std::string_view bytes;
  const char* what;
};

// From the formats' own documents. Where two could match, the more telling one comes first.
constexpr std::array marks{
    Mark{1080, "\x53\xef"sv, "an ext2, ext3 or ext4 file system"},
    Mark{0, "XFSB"sv, "an XFS file system"},
    Mark{65600, "_BHRfS_M"sv, "a btrfs file system"},
    Mark{4086, "SWAPSPACE2"sv, "swap space"},
    Mark{4086, "SWAP-SPACE"sv, "swap space"},
    Mark{16374, "SWAPSPACE2"sv, "swap space"},
    Mark{65526, "SWAPSPACE2"sv, "swap space"},
    Mark{0, "LABELONE"sv, "an LVM physical volume"},
    Mark{512, "LABELONE"sv, "an LVM physical volume"},
    Mark{1024, "LABELONE"sv, "an LVM physical volume"},
    Mark{1536, "LABELONE"sv, "an LVM physical volume"},
    Mark{0, "LUKS\xba\xbe"sv, "a LUKS encrypted volume"},
    Mark{16384, "SKUL\xba\xbe"sv, "a LUKS encrypted volume"},
    Mark{0, "\xfc\x4e\x2b\xa9"sv, "a member of an md array"},
    Mark{4096, "\xfc\x4e\x2b\xa9"sv, "a member of an md array"},
    Mark{4120, "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"sv,
         "a bcachefs file system"},
    Mark{4120, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"sv,
         "a bcache device"},
    Mark{3, "NTFS    "sv, "an NTFS file system"},
    Mark{3, "EXFAT   "sv, "an exFAT file system"},
    Mark{54, "FAT1"sv, "a FAT file system"},
    Mark{82, "FAT32   "sv, "a FAT file system"},
    Mark{0, "hsqs"sv, "a squashfs image"},
    Mark{32769, "CD001"sv, "an ISO 9660 image"},
    Mark{1024, "\x10\x20\xf5\xf2"sv, "an F2FS file system"},
    Mark{1024, "\xe2\xe1\xf5\xe0"sv, "an EROFS image"},
    Mark{65588, "ReIsEr"sv, "a ReiserFS file system"},
    Mark{32768, "JFS1"sv, "a JFS file system"},
    Mark{32, "NXSB"sv, "an APFS container"},
    Mark{1024, "H+\x00\x04"sv, "an HFS+ file system"},
    Mark{0, "bluestore block device"sv, "a Ceph OSD"},
    Mark{0, "dmvdo001"sv, "a VDO volume"},
    Mark{32, "\xf2\x51\x9c\x01\x00\x00\x00\x00"sv, "dm-thin metadata"},
    Mark{0, "QFI\xfb"sv, "a qcow2 image"},
    Mark{0, "KDMV"sv, "a VMDK image"},
    Mark{64, "\x7f\x10\xda\xbe"sv, "a VDI image"},
    Mark{0, "vhdxfile"sv, "a VHDX image"},
    Mark{0, "conectix"sv, "a VHD image"},
    Mark{-512, "conectix"sv, "a VHD image"},
    Mark{512, "EFI PART"sv, "a GPT partition table"},
    Mark{4096, "EFI PART"sv, "a GPT partition table"},
    Mark{-512, "EFI PART"sv, "a GPT partition table (its backup, at the end)"},
    Mark{-4096, "EFI PART"sv, "a GPT partition table (its backup, at the end)"},
};

// Marks that lie at no fixed place, or of few bytes, are looked for by hand.
constexpr uint64_t zfs_label_bytes = 256 * kib;
constexpr uint64_t zfs_uberblocks = 128 * kib;  // in a label
constexpr std::string_view zfs_little = "\x0c\xb1\xba\x00\x00\x00\x00\x00"sv;
constexpr std::string_view zfs_big = "\x00\x00\x00\x00\x00\xba\xb1\x0c"sv;
constexpr std::string_view md_magic = "\xfc\x4e\x2b\xa9"sv;

bool holds(std::span<const std::byte> bytes, uint64_t at, std::string_view mark) {
  return at + mark.size() <= bytes.size() &&
         std::memcmp(bytes.data() + at, mark.data(), mark.size()) == 0;
}

bool holds_lamina(std::span<const std::byte> block) {
  const auto superblock = unpack_superblock(block);
  return superblock || superblock.error().code != Code::not_found;
}

// 55 AA alone also ends boot sectors without partitions; those count when an entry is in use.
bool holds_mbr(std::span<const std::byte> head) {
  constexpr uint64_t table = 446, entry_bytes = 16, type_in_entry = 4;
  if (!holds(head, 510, "\x55\xaa"sv)) return false;
  for (uint64_t entry = table; entry < 510; entry += entry_bytes)
    if (head[entry + type_in_entry] != std::byte{0}) return true;
  return false;
}

bool holds_zfs(std::span<const std::byte> label) {
  for (uint64_t at = zfs_uberblocks; at < zfs_label_bytes; at += kib)
    if (holds(label, at, zfs_little) || holds(label, at, zfs_big)) return true;
  return false;
}

// The end of a disk: ZFS keeps two labels there, md its older superblocks, lamina a copy.
std::optional<std::string> look_at_end(std::span<const std::byte> tail, uint64_t size) {
  if (tail.size() >= block_size && holds_lamina(tail.last(block_size))) return "a lamina pool";
  const uint64_t labels_end = tail.size() - size % zfs_label_bytes;
  for (const uint64_t back : {2 * zfs_label_bytes, zfs_label_bytes})
    if (labels_end >= back && holds_zfs(tail.subspan(labels_end - back))) return "a ZFS pool";
  // Version 0.90: the last 64 KiB at a multiple of 64 KiB; 1.0: 8 KiB before the end, at 4 KiB.
  const uint64_t begin = size - tail.size();
  for (const uint64_t at :
       {round_down(size, 64 * kib) - 64 * kib, round_down(size - 8 * kib, 4096)})
    if (at >= begin && holds(tail, at - begin, md_magic)) return "a member of an md array";
  return std::nullopt;
}

}  // namespace

Result<std::optional<std::string>> find_signature(uint64_t size, const ReadAt& read) {
  constexpr uint64_t edge = 1 * mib;  // no mark lies further in
  if (size < 64 * kib) return std::optional<std::string>{};
  Buffer head(std::min(size, edge)), tail(std::min(size, edge));
  const auto head_bytes = head.span().first(std::min(size, edge));
  const auto tail_bytes = tail.span().first(std::min(size, edge));
  LAMINA_TRY(read(0, head_bytes));
  LAMINA_TRY(read(size - tail_bytes.size(), tail_bytes));
  if (holds_lamina(head_bytes.first(block_size)))
    return std::optional<std::string>("a lamina pool");
  for (const Mark& mark : marks) {
    const bool from_end = mark.offset < 0;
    const auto where = from_end ? tail_bytes.last(static_cast<size_t>(-mark.offset)) : head_bytes;
    if (holds(where, from_end ? 0 : static_cast<uint64_t>(mark.offset), mark.bytes))
      return std::optional<std::string>(mark.what);
  }
  if (holds_zfs(head_bytes)) return std::optional<std::string>("a ZFS pool");
  if (auto found = look_at_end(tail_bytes, size)) return found;
  if (holds_mbr(head_bytes)) return std::optional<std::string>("an MBR partition table");
  return std::optional<std::string>{};
}

Result<std::optional<std::string>> find_signature_of(const std::string& path, uint64_t offset,
                                                     uint64_t length) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return fail(Code::io, "cannot look at what " + path + " holds: " + std::strerror(errno));
  const auto end = static_cast<uint64_t>(lseek(file, 0, SEEK_END));
  const uint64_t room = end > offset ? end - offset : 0;
  const uint64_t size = length == 0 ? room : std::min(length, room);
  bool begins_with_zeroes = true;
  const ReadAt read = [&](uint64_t at, std::span<std::byte> into) -> Result<> {
    const ssize_t got = pread(file, into.data(), into.size(), static_cast<off_t>(offset + at));
    if (got != static_cast<ssize_t>(into.size()))
      return fail(Code::io, "cannot read " + path + " at " + std::to_string(offset + at) + ": " +
                                (got < 0 ? std::strerror(errno) : "it ends early"));
    if (at == 0) begins_with_zeroes = all_zero(into);
    return {};
  };
  auto found = find_signature(size, read);
  close(file);
  if (found && !*found && !begins_with_zeroes)
    return std::optional<std::string>("data of an unknown kind");
  return found;
}

}  // namespace lamina
