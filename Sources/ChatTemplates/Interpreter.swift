import Diagnostics
import OrderedJSON

/// Renders a template once: walks the syntax tree, holds the variables and collects the output.
final class Interpreter {
  let program: Program
  let limits: Limits
  let now: CivilTime
  /// The line of the current statement, for error messages.
  var line = 1

  private var workLeft: Int
  var memoryLeft: Int
  private var openLevels = 0
  /// The output so far: that of the template or, inside a capture, the captured text.
  private var output = ""
  private var captures = 0
  /// The length of the template's output when the outermost capture began.
  private var writtenBeforeCapture = 0
  private var generated: [Generated] = []

  /// The position and length of the text of a `{% generation %}` block.
  private struct Generated {
    let start: Int
    let bytes: Int
    /// The length in code points, for a block inside a capture.
    let scalars: Int?
  }

  /// Global values by name number.
  private var globals: [Value?]
  /// Variables set in the outermost scope, which blocks can read.
  private var exported: [Int: Value] = [:]
  var activation: Activation
  var scope: Int
  /// Objects that may form reference cycles, which are broken at the end.
  private var activationsWithClosures: [Activation] = []
  private var namespaces: [Namespace] = []

  init(program: Program, limits: Limits, now: CivilTime, variables: (String) -> Value?) {
    self.program = program
    self.limits = limits
    self.now = now
    workLeft = limits.work
    memoryLeft = limits.memoryBytes
    globals = program.syntax.names.map { name in
      variables(name) ?? Builtin(rawValue: name).map { .function($0) }
    }
    activation = Activation(count: program.functions[0].variableCount, outer: nil)
    scope = program.syntax.body.scope
  }

  func run() throws(SwiftletError) -> String {
    defer {
      for activation in activationsWithClosures { activation.variables = [] }
      for namespace in namespaces { namespace.members = [] }
    }
    activationsWithClosures.append(activation)
    enterScope(program.syntax.body.scope)
    _ = try execute(program.syntax.body.statements)
    return output
  }

  // MARK: Limits

  func error(_ reason: String) -> SwiftletError { SwiftletError.template(line: line, reason: reason) }

  /// Counts units of work.
  func spend(_ amount: Int) throws(SwiftletError) {
    workLeft -= amount
    if workLeft < 0 { throw error("the template takes too long; stopped after \(limits.work) steps") }
  }

  /// Counts a new string of `bytes` bytes.
  func spendText(_ bytes: Int) throws(SwiftletError) {
    if bytes > limits.textBytes { throw error("a string is longer than \(limits.textBytes) bytes") }
    try spend(bytes / 16)
    try spendMemory(bytes)
  }

  /// Counts `bytes` bytes of new strings, lists and dictionaries. Call it before they are allocated.
  func spendMemory(_ bytes: Int) throws(SwiftletError) {
    let (left, overflow) = memoryLeft.subtractingReportingOverflow(bytes)
    memoryLeft = left
    if overflow || left < 0 {
      memoryLeft = 0
      throw error("the template needs too much memory; stopped after \(limits.memoryBytes >> 20) MB")
    }
  }

  /// Counts a new list with room for `count` elements.
  func spendMemory(elements count: Int) throws(SwiftletError) {
    let (bytes, overflow) = count.multipliedReportingOverflow(by: Limits.elementBytes)
    try spendMemory(overflow ? .max : bytes)
  }

  /// Enters a nested evaluation; `leave` ends it.
  func enter() throws(SwiftletError) {
    openLevels += 1
    if openLevels > limits.levels {
      openLevels -= 1
      throw error("recursion deeper than \(limits.levels) levels")
    }
  }

  func leave() { openLevels -= 1 }

  /// A list of `items`.
  /// - Throws: if it exceeds the limits on depth or memory.
  func list(_ items: [Value]) throws(SwiftletError) -> Value {
    try spend(items.count)
    try spendMemory(elements: items.count)
    let elements = Elements(items)
    try checkDepth(elements.depth)
    return .list(elements)
  }

  func tuple(_ items: [Value]) throws(SwiftletError) -> Value {
    try spend(items.count)
    try spendMemory(elements: items.count)
    let elements = Elements(items)
    try checkDepth(elements.depth)
    return .tuple(elements)
  }

  func checkDepth(_ depth: Int) throws(SwiftletError) {
    if depth > Limits.dataDepth { throw error("data nested deeper than \(Limits.dataDepth) levels") }
  }

  /// A dictionary of `members`; the last of equal keys wins.
  func dictionary(_ members: [Mapping.Member]) throws(SwiftletError) -> Value {
    try spendMemory(elements: 2 * members.count)
    var distinct: [Mapping.Member] = []
    var places: [[UInt8]: Int] = [:]
    for member in members {
      try checkHashable(member.key)
      try spend(1)
      if let text = member.key.text {
        if let place = places[Array(text.utf8)] {
          distinct[place].value = member.value
        } else {
          places[Array(text.utf8)] = distinct.count
          distinct.append(member)
        }
        continue
      }
      var place: Int?
      for (index, known) in distinct.enumerated() where known.key.text == nil {
        if try isEqual(known.key, member.key) { place = index }
      }
      if let place { distinct[place].value = member.value } else { distinct.append(member) }
    }
    let mapping = Mapping(distinct: distinct)
    try checkDepth(mapping.depth)
    return .dictionary(mapping)
  }

  func namespace(_ members: [(name: String, value: Value)]) throws(SwiftletError) -> Value {
    let namespace = Namespace([])
    for member in members {
      try checkNamespaceName(member.name)
      namespace[member.name] = member.value
    }
    namespaces.append(namespace)
    return .namespace(namespace)
  }

  func checkNamespaceName(_ name: String) throws(SwiftletError) {
    if name.hasPrefix("_") {
      throw error(
        "Chat templates cannot store underscore-prefixed attributes on a namespace, but got "
          + "\(PythonText.quoted(name)). Please rename the attribute.")
    }
  }

  // MARK: Variables

  private func target(of place: Place) -> Activation {
    var target = activation
    for _ in 0..<place.hops { target = target.outer ?? target }
    return target
  }

  func read(_ name: Int) -> Value {
    guard let place = program.scopes[scope].places[name] else {
      return .undefined(.variable(program.syntax.names[name]))
    }
    if place.hops == 0, let value = activation.variables[place.index] { return value }
    return target(of: place).variables[place.index] ?? .undefined(.variable(program.syntax.names[name]))
  }

  func write(_ value: Value, to name: Int) {
    guard let place = program.scopes[scope].places[name] else { return }
    target(of: place).variables[place.index] = value
    if program.syntax.hasBlocks, scope == program.syntax.body.scope { exported[name] = value }
  }

  /// Enters a scope and initializes its variables.
  func enterScope(_ scope: Int) {
    self.scope = scope
    for (index, entry) in program.scopes[scope].entries {
      switch entry {
      case .resolve(let name): activation.variables[index] = exported[name] ?? globals[name]
      case .copy(let place): activation.variables[index] = target(of: place).variables[place.index]
      case .undefined: activation.variables[index] = nil
      }
    }
  }

  /// Records that a closure holds the current variables.
  func noteClosure() {
    if activationsWithClosures.last !== activation { activationsWithClosures.append(activation) }
  }

  // MARK: Output

  /// Appends `text` to the output or the current capture.
  func emit(_ text: String) throws(SwiftletError) {
    if captures > 0 { try spendMemory(text.utf8.count) }
    output += text
    if output.utf8.count > limits.textBytes {
      throw error("the rendered text is longer than \(limits.textBytes) bytes")
    }
    try spend(1 + text.utf8.count / 16)
  }

  /// Captures what `body` writes.
  func capture<Result>(
    _ body: () throws(SwiftletError) -> Result
  ) throws(SwiftletError) -> (text: String, result: Result) {
    if captures == 0 { writtenBeforeCapture = output.utf8.count }
    let outside = output
    output = ""
    captures += 1
    defer {
      captures -= 1
      output = outside
    }
    let result = try body()
    return (output, result)
  }

  /// Records that `text`, which is emitted next, comes from a `{% generation %}` block.
  ///
  /// As in transformers, a block inside a macro or another capture starts at the end of the template's own output, and
  /// its length counts code points.
  func recordGeneration(_ text: String) {
    let isDirect = captures == 0
    generated.append(
      Generated(
        start: isDirect ? output.utf8.count : writtenBeforeCapture, bytes: text.utf8.count,
        scalars: isDirect ? nil : PythonText.length(text)))
  }

  /// The byte ranges of `{% generation %}` blocks in the rendered text.
  func generationSpans() -> [Range<Int>] {
    generated.map { part in
      guard let scalars = part.scalars else { return part.start..<part.start + part.bytes }
      let rest = output.utf8.suffix(output.utf8.count - part.start)
      let bytes = String(Substring(rest).unicodeScalars.prefix(scalars)).utf8.count
      return part.start..<part.start + bytes
    }
  }
}
