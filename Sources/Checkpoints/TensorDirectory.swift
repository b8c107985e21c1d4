import Diagnostics
import Tensors

/// A name that compares byte by byte. `String` compares by canonical equivalence, which would merge distinct names.
struct ExactName: Hashable, Sendable {
  let text: String
  init(_ text: String) { self.text = text }

  static func == (a: ExactName, b: ExactName) -> Bool { a.text.utf8.elementsEqual(b.text.utf8) }

  func hash(into hasher: inout Hasher) {
    for byte in text.utf8 { hasher.combine(byte) }
  }
}

/// A tensor as listed in a file's header.
struct TensorEntry: Sendable {
  let name: String
  let type: ElementType
  /// Row-major dimensions, outermost first.
  let shape: [Int]
  /// In bytes from the start of the file.
  let offset: Int
  let byteCount: Int

  /// The size of a tensor in bytes; `nil` if a dimension is negative, the size overflows, or a row is not a whole
  /// number of blocks.
  static func byteCount(of type: ElementType, shape: [Int]) -> Int? {
    var count = 1
    var isEmpty = false
    // Ignoring zeros keeps later partial products, over fewer dimensions, from overflowing.
    for dimension in shape {
      if dimension < 0 { return nil }
      if dimension == 0 { isEmpty = true }
      let (product, overflow) = count.multipliedReportingOverflow(by: max(dimension, 1))
      if overflow { return nil }
      count = product
    }
    guard (shape.last ?? 1) % type.blockLength == 0, let bytes = type.byteCount(ofRow: count) else { return nil }
    return isEmpty ? 0 : bytes
  }
}

/// The tensors of one file by name. All of them are within the file and don't overlap; the initializer checks this.
struct TensorDirectory: Sendable {
  let file: MappedFile
  let entries: [TensorEntry]
  private let indices: [ExactName: Int]

  init(file: MappedFile, entries: [TensorEntry]) throws(SwiftletError) {
    var indices: [ExactName: Int] = [:]
    for (index, entry) in entries.enumerated() {
      if indices.updateValue(index, forKey: ExactName(entry.name)) != nil {
        throw .corrupt(file.path, "the tensor \(entry.name.quotedExcerpt) appears twice")
      }
      let (end, overflow) = entry.offset.addingReportingOverflow(entry.byteCount)
      guard !overflow, entry.offset >= 0, end <= file.byteCount else {
        throw .corrupt(
          file.path,
          "the tensor \(entry.name.quotedExcerpt) extends past the end of the file (\(file.byteCount) bytes)")
      }
    }
    self.file = file
    self.entries = entries
    self.indices = indices
    let filled = entries.filter { $0.byteCount > 0 }.sorted { $0.offset < $1.offset }
    for (first, second) in zip(filled, filled.dropFirst()) where first.offset + first.byteCount > second.offset {
      throw .corrupt(
        file.path, "the tensors \(first.name.quotedExcerpt) and \(second.name.quotedExcerpt) overlap")
    }
    file.preferHugePages()
  }

  func contains(_ name: String) -> Bool { indices[ExactName(name)] != nil }

  func tensor(named name: String) -> Tensor? {
    guard let index = indices[ExactName(name)] else { return nil }
    let entry = entries[index]
    // The widest fields of a quantized block are its float16 scales.
    let alignment = entry.type.isQuantized ? 2 : entry.type.blockByteCount
    if entry.offset % alignment == 0 {
      return Tensor(type: entry.type, shape: entry.shape, storage: file.storage, byteOffset: entry.offset)
    }
    return Tensor(type: entry.type, shape: entry.shape, storage: alignedCopy(of: entry))
  }

  /// A copy of a tensor that is misaligned in the file, as early safetensors writers left them.
  private func alignedCopy(of entry: TensorEntry) -> Storage {
    let copy = UnsafeMutableRawPointer.allocate(byteCount: entry.byteCount, alignment: 64)
    copy.copyMemory(from: file.storage.base + entry.offset, byteCount: entry.byteCount)
    return Storage(base: copy, byteCount: entry.byteCount) { base, _ in base.deallocate() }
  }
}
