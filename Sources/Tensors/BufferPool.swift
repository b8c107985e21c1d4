import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Host memory that is handed out, given back and handed out again, so that a training step in the steady state
/// allocates nothing and every step needs what the first one needed.
final class BufferPool: Sendable {
  private struct Buffer: @unchecked Sendable {
    let pointer: UnsafeMutableRawPointer
    let size: Int
  }

  private struct Shelves {
    var free: [Int: [UnsafeMutableRawPointer]] = [:]
    /// All buffers, handed out or not.
    var bytesAllocated = 0
    /// What was asked for, rounded.
    var bytesInUse = 0
    var peakBytesInUse = 0

    /// A free buffer of this size or little more, else a new one.
    mutating func take(_ size: Int) -> Buffer {
      bytesInUse += size
      peakBytesInUse = max(peakBytesInUse, bytesInUse)
      // Batches of other lengths leave large buffers of other sizes.
      let sizes = size < BufferPool.largeSize ? size...size : size...size + size / 4
      let fitting = free[size] != nil ? size : free.keys.filter(sizes.contains).min()
      if let fitting, let pointer = pop(fitting) { return Buffer(pointer: pointer, size: fitting) }
      makeRoom(for: size)
      bytesAllocated += size
      return Buffer(pointer: Self.allocate(size), size: size)
    }

    private mutating func pop(_ size: Int) -> UnsafeMutableRawPointer? {
      defer { if free[size]?.isEmpty == true { free[size] = nil } }
      return free[size]?.popLast()
    }

    /// Buffers of sizes that nobody asks for again go, the largest first, before all together take more than a sixteenth
    /// over what was ever in use at once.
    private mutating func makeRoom(for size: Int) {
      let limit = peakBytesInUse + peakBytesInUse / 16 + (16 << 20)
      for other in free.keys.sorted(by: >) {
        while bytesAllocated + size > limit, let pointer = pop(other) { deallocate(pointer, other) }
      }
    }

    mutating func put(_ buffer: Buffer, asked size: Int) {
      bytesInUse -= size
      free[buffer.size, default: []].append(buffer.pointer)
    }

    mutating func trim() {
      for (size, pointers) in free { for pointer in pointers { deallocate(pointer, size) } }
      free = [:]
    }

    private mutating func deallocate(_ pointer: UnsafeMutableRawPointer, _ size: Int) {
      bytesAllocated -= size
      if size < BufferPool.largeSize { pointer.deallocate() } else { munmap(pointer, size) }
    }

    /// Large buffers are mapped, so that the system has them back at once when they go, and pages that nobody touches
    /// take no memory. Their whole huge pages are asked for as such: a processor that walks one page table entry for
    /// 2 MB instead of 512 reads up to twice as fast, and the system clears it in one go.
    private static func allocate(_ size: Int) -> UnsafeMutableRawPointer {
      // Where the system has no memory left, this ends the process, and so would the next allocation of anybody.
      guard size >= BufferPool.largeSize else { return .allocate(byteCount: size, alignment: 64) }
      let hugePage = BufferPool.hugePageSize
      let slack = size >= hugePage ? hugePage : 0
      guard let base = mmap(nil, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0),
        base != MAP_FAILED
      else { preconditionFailure("the system has no \(size) bytes of memory left") }
      guard slack > 0 else { return base }
      let before = (hugePage - Int(bitPattern: base) % hugePage) % hugePage
      if before > 0 { munmap(base, before) }
      let aligned = base + before
      if slack > before { munmap(aligned + BufferPool.wholePages(size), slack - before) }
      #if os(Linux)
        madvise(aligned, size / hugePage * hugePage, MADV_HUGEPAGE)
      #endif
      return aligned
    }
  }
  private static let largeSize = 1 << 17
  private static let hugePageSize = 2 << 20

  private static func wholePages(_ size: Int) -> Int {
    let pageSize = Int(sysconf(Int32(_SC_PAGESIZE)))
    return (size + pageSize - 1) / pageSize * pageSize
  }

  // The pointers on the shelves belong to nobody else, so moving them between threads is safe.
  private struct Contents: @unchecked Sendable { var shelves = Shelves() }
  private let contents = Mutex(Contents())

  /// Bytes are rounded up to one of eight sizes per power of two, so that slightly different requests share buffers.
  static func roundedSize(_ byteCount: Int) -> Int {
    let least = max(byteCount, 64)
    let step = max(64, (1 << (Int.bitWidth - 1 - least.leadingZeroBitCount)) / 8)
    return (least + step - 1) / step * step
  }

  /// A buffer of at least `byteCount` bytes, 64-byte aligned, its content undefined.
  func storage(byteCount: Int) -> Storage {
    let size = Self.roundedSize(byteCount)
    let buffer = contents.withLock { $0.shelves.take(size) }
    return Storage(base: buffer.pointer, byteCount: buffer.size) { [self] pointer, full in
      contents.withLock { $0.shelves.put(Buffer(pointer: pointer, size: full), asked: size) }
    }
  }

  /// Gives what nobody uses back to the system.
  func trim() { contents.withLock { $0.shelves.trim() } }

  /// Bytes handed out now, and the most there ever were.
  var statistics: (inUse: Int, peak: Int) {
    contents.withLock { ($0.shelves.bytesInUse, $0.shelves.peakBytesInUse) }
  }

  deinit { trim() }
}
