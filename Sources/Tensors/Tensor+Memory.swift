import CKernels

import Essentials

extension Tensor {
  /// The address of the first element, for kernels.
  func pointer<Element>(_: Element.Type = Float.self) -> UnsafeMutablePointer<Element> {
    (storage.base + byteOffset).assumingMemoryBound(to: Element.self)
  }

  /// The matrix as a kernel argument; `nil` for types that kernels can't read.
  var matrix: ck_matrix? {
    let format: ck_format
    switch type {
    case .float32: format = ck_float32
    case .float16: format = ck_float16
    case .bfloat16: format = ck_bfloat16
    case .q4_0: format = ck_q4_0
    case .q4_1: format = ck_q4_1
    case .q5_0: format = ck_q5_0
    case .q5_1: format = ck_q5_1
    case .q8_0: format = ck_q8_0
    case .q2_K: format = ck_q2_K
    case .q3_K: format = ck_q3_K
    case .q4_K: format = ck_q4_K
    case .q5_K: format = ck_q5_K
    case .q6_K: format = ck_q6_K
    case .nf4: format = ck_nf4
    case .fp4: format = ck_fp4
    case .iq4_nl: format = ck_iq4_nl
    case .iq4_xs: format = ck_iq4_xs
    case .mxfp4: format = ck_mxfp4
    case .float4: format = ck_float4
    case .affine4: format = ck_affine4
    case .affine8: format = ck_affine8
    case .float8: format = ck_float8
    default: return nil
    }
    if type.hasScales, scales == nil { return nil }
    return ck_matrix(
      data: storage.base + byteOffset, format: format, rows: rows, columns: columns,
      scales: scales?.kernelScales ?? ck_scales())
  }

  /// The same elements with another shape, which must have the same number of elements. Shares the storage.
  public func reshaped(_ shape: [Int]) -> Tensor {
    precondition(shape.reduce(1, *) == count, "a reshaped tensor keeps its number of elements")
    return Tensor(type: type, shape: shape, storage: storage, byteOffset: byteOffset, scales: scales)
  }

  /// Elements in row-major order as a vector, sharing the tensor's bytes; not of types that store several in a block.
  package func elements(_ range: Range<Int>) -> Tensor {
    precondition(type.blockLength == 1, "blocks are not cut")
    return Tensor(
      type: type, shape: [range.count], storage: storage,
      byteOffset: byteOffset + range.lowerBound * type.blockByteCount)
  }

  /// A matrix with rows and columns exchanged, in new host memory. Not for types with blocks.
  package func transposed() -> Tensor {
    precondition(shape.count == 2 && !type.isQuantized, "only matrices of single elements are transposed")
    let result = CPUBackend.shared.empty([columns, rows], type)
    withBytes { bytes in
      guard let from = bytes.baseAddress else { return }
      let to = result.storage.base + result.byteOffset
      switch type.blockByteCount {
      case 1: transpose(UInt8.self, from, to)
      case 2: transpose(UInt16.self, from, to)
      case 4: transpose(UInt32.self, from, to)
      default: transpose(UInt64.self, from, to)
      }
    }
    return result
  }

  /// Copies elements of this size, in whatever type they are.
  private func transpose<Element: BitwiseCopyable>(
    _ type: Element.Type, _ from: UnsafeRawPointer, _ to: UnsafeMutableRawPointer
  ) {
    let size = MemoryLayout<Element>.size
    for row in 0..<rows {
      for column in 0..<columns {
        let element = from.loadUnaligned(fromByteOffset: (row * columns + column) * size, as: Element.self)
        to.storeBytes(of: element, toByteOffset: (column * rows + row) * size, as: Element.self)
      }
    }
  }

  /// A range of rows of a matrix. Shares the storage. Not for types with scales apart.
  public func rows(_ range: Range<Int>) -> Tensor {
    precondition(!type.hasScales, "scales are not cut")
    let rowBytes = byteCount / max(rows, 1)
    return Tensor(
      type: type, shape: [range.count, columns], storage: storage, byteOffset: byteOffset + range.lowerBound * rowBytes)
  }

  /// One of `count` equal shares of the rows of a matrix. Shares the storage. Not for types with scales apart.
  package func rowShare(_ index: Int, of count: Int) -> Tensor {
    let size = rows / count
    return rows(index * size..<(index + 1) * size)
  }

  /// One of the matrices of a stack `[count, rows, columns]`. Shares the storage. Scales must be those of blocks in a row.
  package func matrix(_ index: Int) -> Tensor {
    precondition(shape.count == 3 && !type.isFourBitCode && type != .float8, "a stack whose matrices are apart")
    let bytes = byteCount / max(shape[0], 1)
    let own = scales.map { scales in
      let count = scales.absmax.count / max(shape[0], 1)
      let range = index * count..<(index + 1) * count
      return BlockScales(
        rows: shape[1], columns: shape[2], blockSize: scales.blockSize, scales: scales.absmax.elements(range),
        biases: scales.biases?.elements(range), original: scales.original)
    }
    return Tensor(
      type: type, shape: Array(shape.dropFirst()), storage: storage, byteOffset: byteOffset + index * bytes, scales: own
    )
  }

  /// Tells the system that only some rows of the tensor will be read from a memory-mapped file, here and there: it then reads
  /// and maps what is around them, not huge pages. Does nothing for tensors in other memory.
  package func expectScatteredReads() {
    #if os(Linux)
      guard storage.isMappedFile, byteCount > 0 else { return }
      let pageSize = UInt(sysconf(Int32(_SC_PAGESIZE)))
      let first = UInt(bitPattern: storage.base + byteOffset)
      let start = first / pageSize * pageSize
      madvise(UnsafeMutableRawPointer(bitPattern: start), Int(first - start) + byteCount, MADV_NOHUGEPAGE)
    #endif
  }

  /// Tells the system that it can drop the tensor's pages of a memory-mapped file; later accesses read the file again.
  /// Does nothing for tensors in other memory.
  public func releasePages() {
    guard storage.isMappedFile, byteCount > 0 else { return }
    let first = UInt(bitPattern: storage.base + byteOffset)
    let pageSize = UInt(sysconf(Int32(_SC_PAGESIZE)))
    let start = first / pageSize * pageSize
    madvise(UnsafeMutableRawPointer(bitPattern: start), Int(first - start) + byteCount, MADV_DONTNEED)
  }
}
