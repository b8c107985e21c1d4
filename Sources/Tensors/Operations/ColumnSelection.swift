extension Tape {
  /// Ranges of columns of x, side by side.
  public func columns(_ x: Variable, _ ranges: [Range<Int>]) -> Variable {
    let rows = x.value.rows
    let value = backend.empty([rows, ranges.reduce(0) { $0 + $1.count }], .float32)
    copy(ranges, rows) { backend.copyRows(Columns(x.value, $0), 0, to: Columns(value, $1), 0, count: rows) }
    let output = Variable(value, requiresGradient: x.requiresGradient)
    if output.requiresGradient {
      let (slot, source, shape) = (output.slot, x.slot, x.value.shape)
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        let gradient = backend.empty(shape, .float32)
        backend.clear(gradient)
        copy(ranges, rows) {
          backend.copyRows(Columns(upstream, $1), 0, to: Columns(gradient, $0), 0, count: rows)
        }
        accumulate(gradient, into: source)
      }
    }
    return output
  }

  /// x and y side by side.
  public func beside(_ x: Variable, _ y: Variable) -> Variable {
    let (rows, width) = (x.value.rows, x.value.columns)
    let value = backend.empty([rows, width + y.value.columns], .float32)
    let parts = [(x, 0..<width), (y, width..<width + y.value.columns)]
    for (part, range) in parts {
      backend.copyRows(Columns(part.value), 0, to: Columns(value, range), 0, count: rows)
    }
    let output = Variable(value, requiresGradient: isRecording && (x.requiresGradient || y.requiresGradient))
    if output.requiresGradient {
      let (slot, sources) = (output.slot, parts.map { ($0.0.slot, $0.1) })
      record { [unowned self] in
        guard let upstream = slot.take() else { return }
        for (source, range) in sources where source.requiresGradient {
          let gradient = backend.empty([rows, range.count], .float32)
          backend.copyRows(Columns(upstream, range), 0, to: Columns(gradient), 0, count: rows)
          accumulate(gradient, into: source)
        }
      }
    }
    return output
  }

  /// Calls `body` with each range and its place among the selected columns.
  private func copy(_ ranges: [Range<Int>], _ rows: Int, _ body: (Range<Int>, Range<Int>) -> Void) {
    var end = 0
    for range in ranges {
      body(range, end..<end + range.count)
      end += range.count
    }
  }
}
