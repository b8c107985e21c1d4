import Synchronization

import Essentials

/// A caching allocator for host memory: released buffers are reused, so that after the first training steps nothing is
/// allocated from the system anymore.
final class BufferPool: Sendable {
  private struct Buffer: @unchecked Sendable {
    let pointer: UnsafeMutableRawPointer
    let size: SizeClass
  }

  /// One of eight sizes per power of two, so that slightly different requests share buffers.
  private struct SizeClass {
    /// Eight times the exponent of the power of two, plus the number of eighths above it.
    let index: Int

    /// The smallest class that holds `byteCount` bytes.
    init(holding byteCount: Int) {
      let least = max(byteCount, 64)
      let step = max(64, (1 << Self.exponent(least)) / 8)
      let size = (least + step - 1) / step * step
      index = 8 * Self.exponent(size) + (size >> (Self.exponent(size) - 3)) & 7
    }

    init(index: Int) { self.index = index }

    var byteCount: Int { (8 + index & 7) << (index / 8 - 3) }

    private static func exponent(_ size: Int) -> Int { Int.bitWidth - 1 - size.leadingZeroBitCount }
  }

  private struct FreeLists {
    /// The free buffers of each size class, by its index.
    var free = [[UnsafeMutableRawPointer]](repeating: [], count: 8 * Int.bitWidth)
    /// The size of all buffers, free or in use.
    var bytesAllocated = 0
    /// The requested sizes, rounded up to their classes.
    var bytesInUse = 0
    var peakBytesInUse = 0

    /// Returns a free buffer of this class or a slightly larger one; allocates one if there is none.
    mutating func take(_ size: SizeClass) -> Buffer {
      bytesInUse += size.byteCount
      peakBytesInUse = max(peakBytesInUse, bytesInUse)
      // Batches of different lengths leave large buffers of many different sizes.
      let most = size.byteCount < BufferPool.largeSize ? size.byteCount : size.byteCount + size.byteCount / 4
      var fitting = size
      while fitting.byteCount <= most {
        if let pointer = free[fitting.index].popLast() { return Buffer(pointer: pointer, size: fitting) }
        fitting = SizeClass(index: fitting.index + 1)
      }
      makeRoom(for: size.byteCount)
      bytesAllocated += size.byteCount
      return Buffer(pointer: Self.allocate(size.byteCount), size: size)
    }

    /// Deallocates free buffers, the largest first, if the pool would otherwise exceed the peak in use by more than a
    /// sixteenth.
    private mutating func makeRoom(for byteCount: Int) {
      let limit = peakBytesInUse + peakBytesInUse / 16 + (16 << 20)
      for index in free.indices.reversed() {
        while bytesAllocated + byteCount > limit, let pointer = free[index].popLast() {
          deallocate(pointer, SizeClass(index: index).byteCount)
        }
      }
    }

    mutating func put(_ buffer: Buffer, requested size: SizeClass) {
      bytesInUse -= size.byteCount
      free[buffer.size.index].append(buffer.pointer)
    }

    mutating func trim() {
      for index in free.indices {
        for pointer in free[index] { deallocate(pointer, SizeClass(index: index).byteCount) }
        free[index] = []
      }
    }

    private mutating func deallocate(_ pointer: UnsafeMutableRawPointer, _ size: Int) {
      bytesAllocated -= size
      if size < BufferPool.largeSize { pointer.deallocate() } else { munmap(pointer, size) }
    }

    /// Large buffers are mapped separately, so that deallocating one returns its memory to the system at once and
    /// untouched pages take none. They ask for huge pages: with one page table entry per 2 MB instead of 512, memory is
    /// read up to twice as fast, and the system clears it faster.
    private static func allocate(_ size: Int) -> UnsafeMutableRawPointer {
      // Out of memory ends the process here; any other allocation would do the same.
      guard size >= BufferPool.largeSize else { return .allocate(byteCount: size, alignment: 64) }
      let hugePage = BufferPool.hugePageSize
      let slack = size >= hugePage ? hugePage : 0
      guard let base = mmap(nil, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0),
        base != MAP_FAILED
      else { preconditionFailure("the system is out of memory: it could not allocate \(size) bytes") }
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

  // Nothing else refers to free buffers, so any thread may take them.
  private struct Contents: @unchecked Sendable { var lists = FreeLists() }
  private let contents = Mutex(Contents())

  /// Returns a buffer of at least `byteCount` bytes, 64-byte aligned, with undefined contents. It returns to the pool
  /// when it is released.
  func storage(byteCount: Int) -> Storage {
    let size = SizeClass(holding: byteCount)
    let buffer = contents.withLock { $0.lists.take(size) }
    return Storage(base: buffer.pointer, byteCount: buffer.size.byteCount) { [self] pointer, _ in
      contents.withLock { $0.lists.put(Buffer(pointer: pointer, size: buffer.size), requested: size) }
    }
  }

  /// Returns all free buffers to the system.
  func trim() { contents.withLock { $0.lists.trim() } }

  /// The number of bytes in use, and its peak.
  var statistics: (inUse: Int, peak: Int) {
    contents.withLock { ($0.lists.bytesInUse, $0.lists.peakBytesInUse) }
  }

  deinit { trim() }
}
