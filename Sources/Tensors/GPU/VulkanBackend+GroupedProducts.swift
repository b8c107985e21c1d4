/// Products of rows in groups. Kernels read from the device which rows a group has; the host knows only how many there can
/// be.
extension VulkanBackend {
  /// Enqueues one dispatch per storage format for all groups.
  func sum(_ sum: DeviceTerms, _ groups: DeviceRowGroups, into: Columns, accumulate: Bool, needsBarrier: Bool) {
    let (n, termCount) = (into.count, sum.terms.count)
    let arguments = GroupedProductArguments(
      tiles: address(groups.tiles), starts: address(groups.starts), out: address(into), n: UInt32(n),
      stride: UInt32(into.tensor.columns), termCount: UInt32(termCount), accumulate: accumulate ? 1 : 0,
      groupCount: UInt32(sum.formats.count), tileRows: UInt32(groups.tileRows))
    let terms = sum.formats.indices.map { group in sum.terms.map { termArguments($0[group]) } }
    let isFew =
      groups.tileRows <= Self.gemvRows
      && sum.terms.allSatisfy { $0.allSatisfy { !$0.term.left.isTransposed && $0.term.transposed } }
    var needsBarrier = needsBarrier
    for format in Set(sum.formats).sorted(by: { $0.rawValue < $1.rawValue }) {
      // Another dispatch computes the groups with another format.
      let list = zip(terms, sum.formats).flatMap { own, other in
        own.map { term in
          var term = term
          if other != format { term.flags |= 16 }
          return term
        }
      }
      list.withUnsafeBytes {
        if isFew {
          let columns = self.groups(n, of: 4)
          device.run(
            "groupedFewRows", constant: format.rawValue, arguments, list: $0,
            groups: (min(columns, 32768), self.groups(columns, of: 32768), groups.tileCount),
            needsBarrier: needsBarrier)
        } else {
          device.run(
            "groupedProduct", constant: format.rawValue, arguments, list: $0,
            groups: (self.groups(n), groups.tileCount, 1), needsBarrier: needsBarrier)
        }
      }
      needsBarrier = false
    }
  }

  private struct GroupedProductArguments: BitwiseCopyable {
    /// Replaced by the address of the list of terms.
    var terms: UInt64 = 0
    var tiles, starts, out: UInt64
    var n, stride, termCount, accumulate, groupCount, tileRows: UInt32
  }

  /// Enqueues one dispatch per term for all groups.
  func sumGroups(
    _ terms: [DeviceTerm], _ groups: DeviceRowGroups, into targets: [Product.Target], needsBarrier: Bool
  ) {
    for (index, term) in terms.enumerated() {
      let left = term.term.left
      precondition(left.isTransposed && !term.term.transposed && term.format == .float32, "groups sum float32 rows")
      let (m, n) = (left.rows, term.right.columns)
      let results = targets.map {
        GroupResult(out: address($0.into), accumulate: $0.accumulate || index > 0 ? 1 : 0)
      }
      let arguments = GroupSumArguments(
        starts: address(groups.starts), left: address(left.source), right: address(term.right), m: UInt32(m),
        n: UInt32(n), leftStride: UInt32(left.source.tensor.columns), rightStride: UInt32(n),
        stride: UInt32(targets[0].into.tensor.columns))
      results.withUnsafeBytes {
        device.run(
          "groupSums", constant: KernelFormat.float32.rawValue, arguments, list: $0,
          groups: (self.groups(n), self.groups(m), targets.count), needsBarrier: needsBarrier || index > 0)
      }
    }
  }

  private struct GroupResult: BitwiseCopyable {
    var out: UInt64
    var accumulate: UInt32
    var reserved: UInt32 = 0
  }

  private struct GroupSumArguments: BitwiseCopyable {
    /// Replaced by the address of the list of results.
    var results: UInt64 = 0
    var starts, left, right: UInt64
    var m, n, leftStride, rightStride, stride: UInt32
  }

  /// A product with a column of ones.
  public func addBias(_ biases: @escaping (Int) -> Tensor, to y: Columns, groups: RowGroups) {
    let ones = leftOperand(Columns(groups.device.ones), transposed: false, precision: .float32, groups: groups)
    let term = ProductTerm(ones, rights: { biases($0).reshaped([y.count, 1]) }, transposed: true)
    compute([Product([term], into: y, accumulate: true, groups: groups)])
  }

  /// Products with a column of ones.
  public func addColumnSums(_ dy: Columns, into: [Tensor], groups: RowGroups) {
    let left = leftOperand(dy, transposed: true, precision: .float32, groups: groups)
    let targets = into.map { (into: Columns($0.reshaped([dy.count, 1])), accumulate: true) }
    compute([
      Product([ProductTerm(left, groups.device.ones, transposed: false)], into: targets, groups: groups)
    ])
  }
}

extension Product {
  /// The number of right operands of each term.
  var rightCount: Int {
    guard case .rows(let groups) = division else { return 1 }
    return groups.count
  }
}
