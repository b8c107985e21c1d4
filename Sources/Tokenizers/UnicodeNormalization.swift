/// The four Unicode normalization forms (UAX #15).
enum UnicodeForm: Sendable {
  case nfc, nfd, nfkc, nfkd

  var composes: Bool { self == .nfc || self == .nfkc }
  var isCompatible: Bool { self == .nfkc || self == .nfkd }
}

/// Decompositions, compositions and combining classes, decoded from `UnicodeDecompositionTable` on first use.
struct UnicodeDecompositions: Sendable {
  /// Full canonical and full compatibility decompositions by scalar.
  private var canonical: [UInt32: [UInt32]] = [:]
  private var compatible: [UInt32: [UInt32]] = [:]
  private var compositions: [UInt64: UInt32] = [:]
  private var classes: [UInt32: UInt8] = [:]
  /// By scalar, a set of `Trait` bits.
  private var traits: [UInt8]

  /// Reasons why normalization may change a scalar.
  private enum Trait {
    static let decomposes: UInt8 = 1
    static let decomposesCompatibly: UInt8 = 2
    static let hasClass: UInt8 = 4
    /// May compose with a preceding scalar.
    static let joins: UInt8 = 8
    /// Changes under composition in every context.
    static let neverComposed: UInt8 = 16
  }

  private static let traitLimit: UInt32 = 0x30000

  static let shared = UnicodeDecompositions()

  private init() {
    traits = [UInt8](repeating: 0, count: Int(Self.traitLimit))
    var steps: [UInt32: [UInt32]] = [:]
    Self.forEachEntry(UnicodeDecompositionTable.canonical) { steps[$0] = $1 }
    var excluded: Set<UInt32> = []
    Self.forEachEntry(UnicodeDecompositionTable.excluded) { scalar, _ in excluded.insert(scalar) }
    for (scalar, step) in steps {
      var full = step
      while let first = full.first, let further = steps[first] { full.replaceSubrange(0..<1, with: further) }
      canonical[scalar] = full
      traits[Int(scalar)] |= Trait.decomposes
      if step.count == 2, !excluded.contains(scalar) {
        compositions[UInt64(step[0]) << 32 | UInt64(step[1])] = scalar
        traits[Int(step[1])] |= Trait.joins
      } else {
        traits[Int(scalar)] |= Trait.neverComposed
      }
    }
    Self.forEachEntry(UnicodeDecompositionTable.compatibility) { scalar, full in
      compatible[scalar] = full
      traits[Int(scalar)] |= Trait.decomposesCompatibly
    }
    Self.forEachEntry(UnicodeDecompositionTable.combiningClasses) { scalar, values in
      classes[scalar] = UInt8(truncatingIfNeeded: values.first ?? 0)
      traits[Int(scalar)] |= Trait.hasClass
    }
    for scalar in 0x1161...0x1175 { traits[scalar] |= Trait.joins }
    for scalar in 0x11A8...0x11C2 { traits[scalar] |= Trait.joins }
    for scalar in 0xAC00...0xD7A3 { traits[scalar] |= Trait.decomposes }
  }

  /// Calls `body` with each entry's scalar, which is the running sum of the first numbers, and its other numbers.
  private static func forEachEntry(_ table: StaticString, _ body: (UInt32, [UInt32]) -> Void) {
    table.withUTF8Buffer { text in
      var scalar: UInt32 = 0
      for entry in text.split(separator: UInt8(ascii: ",")) {
        let numbers = entry.split(separator: UInt8(ascii: ".")).map { digits in
          digits.reduce(UInt32(0)) { $0 * 36 + UInt32($1 < 58 ? $1 - 48 : $1 - 87) }
        }
        guard let first = numbers.first else { continue }
        scalar += first
        if scalar < traitLimit { body(scalar, Array(numbers.dropFirst())) }
      }
    }
  }

  func combiningClass(_ scalar: UInt32) -> UInt8 {
    scalar < Self.traitLimit && traits[Int(scalar)] & Trait.hasClass != 0 ? classes[scalar] ?? 0 : 0
  }

  /// Whether `form` leaves `scalar` unchanged in every context.
  func isInert(_ scalar: UInt32, in form: UnicodeForm) -> Bool {
    if scalar >= Self.traitLimit { return true }
    let own = traits[Int(scalar)]
    if own & Trait.hasClass != 0 { return false }
    if form.isCompatible, own & Trait.decomposesCompatibly != 0 { return false }
    return form.composes
      ? own & (Trait.joins | Trait.neverComposed) == 0
      : own & Trait.decomposes == 0
  }

  /// Whether preceding scalars cannot affect the normalization of `scalar`.
  func isUnaffectedByPrevious(_ scalar: UInt32, _ form: UnicodeForm) -> Bool {
    var parts: [UInt32] = []
    appendDecomposition(scalar, compatible: form.isCompatible, to: &parts)
    guard let first = parts.first, first < Self.traitLimit else { return true }
    return traits[Int(first)] & (Trait.hasClass | Trait.joins) == 0
  }

  func appendDecomposition(_ scalar: UInt32, compatible isCompatible: Bool, to output: inout [UInt32]) {
    if (0xAC00...0xD7A3).contains(scalar) {
      let index = scalar - 0xAC00
      output.append(0x1100 + index / 588)
      output.append(0x1161 + index % 588 / 28)
      if index % 28 > 0 { output.append(0x11A7 + index % 28) }
      return
    }
    if scalar < Self.traitLimit, traits[Int(scalar)] & (Trait.decomposes | Trait.decomposesCompatibly) != 0 {
      if isCompatible, let full = compatible[scalar] { return output.append(contentsOf: full) }
      if let full = canonical[scalar] { return output.append(contentsOf: full) }
    }
    output.append(scalar)
  }

  /// The composition of two scalars, or `nil` if they do not compose.
  func composition(_ first: UInt32, _ second: UInt32) -> UInt32? {
    if (0x1100...0x1112).contains(first), (0x1161...0x1175).contains(second) {
      return 0xAC00 + ((first - 0x1100) * 21 + (second - 0x1161)) * 28
    }
    if (0xAC00...0xD7A3).contains(first), (first - 0xAC00) % 28 == 0, (0x11A8...0x11C2).contains(second) {
      return first + (second - 0x11A7)
    }
    return compositions[UInt64(first) << 32 | UInt64(second)]
  }

  /// The scalars of `run`, normalized to `form`.
  func normalized(_ run: [UInt32], _ form: UnicodeForm) -> [UInt32] {
    var scalars: [UInt32] = []
    for scalar in run { appendDecomposition(scalar, compatible: form.isCompatible, to: &scalars) }
    order(&scalars)
    return form.composes ? composed(scalars) : scalars
  }

  /// Sorts each run of scalars with a nonzero combining class by class (stable).
  private func order(_ scalars: inout [UInt32]) {
    var start = 0
    while start < scalars.count {
      guard combiningClass(scalars[start]) > 0 else {
        start += 1
        continue
      }
      var end = start + 1
      while end < scalars.count, combiningClass(scalars[end]) > 0 { end += 1 }
      if end - start > 1 {
        let sorted = scalars[start..<end].enumerated().sorted {
          let (a, b) = (combiningClass($0.element), combiningClass($1.element))
          return a == b ? $0.offset < $1.offset : a < b
        }
        for (offset, entry) in sorted.enumerated() { scalars[start + offset] = entry.element }
      }
      start = end
    }
  }

  private func composed(_ scalars: [UInt32]) -> [UInt32] {
    var output: [UInt32] = []
    var starter: Int?
    var lastClass = -1  // The class of the last scalar since the starter; -1 if there is none.
    for scalar in scalars {
      let own = Int(combiningClass(scalar))
      if let starter, lastClass < own, let joined = composition(output[starter], scalar) {
        output[starter] = joined
        continue
      }
      if own == 0 {
        starter = output.count
        lastClass = -1
      } else {
        lastClass = own
      }
      output.append(scalar)
    }
    return output
  }
}

extension TrackedText {
  /// The text in a normalization form. Each run of interacting scalars maps to its original as a whole.
  func normalized(_ form: UnicodeForm) -> TrackedText {
    let tables = UnicodeDecompositions.shared
    var rewriter: Rewriter?
    var copied = range.lowerBound
    var index = range.lowerBound
    var previous = index  // The start of the previous scalar, with which the next may compose.
    while index < range.upperBound {
      if bytes[index] < 0x80 {
        previous = index
        index += 1
        continue
      }
      let (scalar, length) = decodeScalar(bytes, index, range.upperBound)
      if tables.isInert(scalar, in: form) {
        previous = index
        index += length
        continue
      }
      // From the previous scalar (unless it ended a run) to the next scalar that this run cannot affect.
      let start = max(previous, copied)
      var run: [UInt32] = []
      var end = start
      while end < range.upperBound {
        let (scalar, length) = decodeScalar(bytes, end, range.upperBound)
        if end > index, tables.isInert(scalar, in: form) || tables.isUnaffectedByPrevious(scalar, form) { break }
        run.append(scalar)
        end += length
      }
      let result = tables.normalized(run, form)
      if result != run {
        var changed = rewriter ?? self.rewriter()
        rewriter = nil
        changed.copy(copied..<start)
        changed.replace(start..<end, by: Self.utf8(result))
        rewriter = changed
        copied = end
      }
      previous = end
      index = end
    }
    guard var rewriter else { return self }
    rewriter.copy(copied..<range.upperBound)
    return rewriter.finish()
  }

  private static func utf8(_ scalars: [UInt32]) -> [UInt8] {
    var text = String.UnicodeScalarView()
    text.append(contentsOf: scalars.map { Unicode.Scalar($0) ?? "\u{FFFD}" })
    return Array(String(text).utf8)
  }
}
