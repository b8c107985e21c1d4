import Diagnostics
import Tensors

/// A name compared byte by byte; `String`'s own `==` is canonical equivalence, which would join distinct names.
struct ExactName: Hashable, Sendable {
  let text: String
  init(_ text: String) { self.text = text }

  static func == (a: ExactName, b: ExactName) -> Bool { a.text.utf8.elementsEqual(b.text.utf8) }

  func hash(into hasher: inout Hasher) {
    for byte in text.utf8 { hasher.combine(byte) }
  }
}

/// A tensor as a file's header lists it.
struct TensorEntry: Sendable {
  let name: String
  let type: ElementType
  /// Row-major, outermost first.
  let shape: [Int]
  /// From the start of the file.
  let offset: Int
  let byteCount: Int

  /// The bytes that a tensor takes, or `nil` where the extents are negative, overflow, or leave a block incomplete.
  static func byteCount(of type: ElementType, shape: [Int]) -> Int? {
    var count = 1
    var isEmpty = false
    // Zeros are left out of the product so that no partial product that others form can overflow either.
    for extent in shape {
      if extent < 0 { return nil }
      if extent == 0 { isEmpty = true }
      let (product, overflow) = count.multipliedReportingOverflow(by: max(extent, 1))
      if overflow { return nil }
      count = product
    }
    guard (shape.last ?? 1) % type.blockLength == 0, let bytes = type.byteCount(ofRow: count) else { return nil }
    return isEmpty ? 0 : bytes
  }
}

/// The tensors of one file: checked to lie in it without overlapping, found by name.
struct TensorDirectory: Sendable {
  let file: MappedFile
  let entries: [TensorEntry]
  private let places: [ExactName: Int]

  init(file: MappedFile, entries: [TensorEntry]) throws(SwiftletError) {
    var places: [ExactName: Int] = [:]
    for (place, entry) in entries.enumerated() {
      if places.updateValue(place, forKey: ExactName(entry.name)) != nil {
        throw SwiftletError.checkpoint(
          path: file.path,
          reason: "names the tensor \(entry.name.quotedExcerpt) twice; the file is damaged, get it again")
      }
      let (end, overflow) = entry.offset.addingReportingOverflow(entry.byteCount)
      guard !overflow, entry.offset >= 0, end <= file.byteCount else {
        throw SwiftletError.checkpoint(
          path: file.path,
          reason:
            "the tensor \(entry.name.quotedExcerpt) lies outside the file of \(file.byteCount) bytes; the file is cut "
            + "short or damaged, get it again")
      }
    }
    self.file = file
    self.entries = entries
    self.places = places
    let filled = entries.filter { $0.byteCount > 0 }.sorted { $0.offset < $1.offset }
    for (first, second) in zip(filled, filled.dropFirst()) where first.offset + first.byteCount > second.offset {
      throw SwiftletError.checkpoint(
        path: file.path,
        reason:
          "the tensors \(first.name.quotedExcerpt) and \(second.name.quotedExcerpt) overlap; the file is damaged, get it "
          + "again")
    }
    file.preferHugePages()
  }

  func contains(_ name: String) -> Bool { places[ExactName(name)] != nil }

  func tensor(named name: String) -> Tensor? {
    guard let place = places[ExactName(name)] else { return nil }
    let entry = entries[place]
    // Blocks start with half-precision scales.
    let alignment = entry.type.isQuantized ? 2 : entry.type.blockByteCount
    if entry.offset % alignment == 0 {
      return Tensor(type: entry.type, shape: entry.shape, storage: file.storage, byteOffset: entry.offset)
    }
    return Tensor(type: entry.type, shape: entry.shape, storage: alignedCopy(of: entry))
  }

  /// A copy of a tensor that its file leaves misaligned, which old writers did.
  private func alignedCopy(of entry: TensorEntry) -> Storage {
    let copy = UnsafeMutableRawPointer.allocate(byteCount: entry.byteCount, alignment: 64)
    copy.copyMemory(from: file.storage.base + entry.offset, byteCount: entry.byteCount)
    return Storage(base: copy, byteCount: entry.byteCount) { base, _ in base.deallocate() }
  }
}
