import Diagnostics

/// The result of a lazy filter. It is computed on first use and can be iterated once.
final class Generator {
  let typeName: String
  let depth: Int
  private var produce: (() throws(SwiftletError) -> [Value])?
  private var rest: ArraySlice<Value> = []

  init(typeName: String = "generator", depth: Int, produce: @escaping () throws(SwiftletError) -> [Value]) {
    self.typeName = typeName
    self.depth = depth + 1
    self.produce = produce
  }

  private func start() throws(SwiftletError) {
    guard let produce else { return }
    self.produce = nil
    rest = try produce()[...]
  }

  /// The next element; `nil` at the end.
  func next() throws(SwiftletError) -> Value? {
    try start()
    return rest.popFirst()
  }

  /// The remaining elements.
  func drain() throws(SwiftletError) -> [Value] {
    try start()
    defer { rest = [] }
    return Array(rest)
  }
}

/// `namespace(...)`, the only mutable object.
final class Namespace {
  var members: [(name: String, value: Value)]

  init(_ members: [(name: String, value: Value)]) { self.members = members }

  subscript(name: String) -> Value? {
    get { members.first { PythonText.same($0.name, name) }?.value }
    set {
      guard let newValue else { return }
      if let place = members.firstIndex(where: { PythonText.same($0.name, name) }) {
        members[place].value = newValue
      } else {
        members.append((name, newValue))
      }
    }
  }
}

/// The variable `loop`.
final class LoopState {
  let items: [Value]
  var index0 = 0
  let depth0: Int
  /// The loop that `loop(...)` runs again, if it is recursive.
  let recursion: (loop: Statement.Loop, activation: Activation, scope: Int)?
  var lastChanged: [Value]?
  let depth: Int

  init(items: [Value], depth0: Int, recursion: (loop: Statement.Loop, activation: Activation, scope: Int)?) {
    self.items = items
    self.depth0 = depth0
    self.recursion = recursion
    depth = 1 + items.reduce(0) { max($0, $1.depth) }
  }
}

/// A macro with the variables of its surroundings.
final class Macro {
  let definition: Statement.Macro
  let activation: Activation

  init(definition: Statement.Macro, activation: Activation) {
    self.definition = definition
    self.activation = activation
  }
}

/// A method bound to its object.
final class Method {
  let receiver: Value
  let name: String

  init(receiver: Value, name: String) {
    self.receiver = receiver
    self.name = name
  }
}

/// `cycler(...)`.
final class Cycler {
  let items: [Value]
  var position = 0
  init(_ items: [Value]) { self.items = items }
}

/// `joiner(...)`.
final class Joiner {
  let separator: Value
  var isUsed = false
  init(_ separator: Value) { self.separator = separator }
}

/// The variables of a function call.
final class Activation {
  var variables: [Value?]
  let outer: Activation?

  init(count: Int, outer: Activation?) {
    variables = Array(repeating: nil, count: count)
    self.outer = outer
  }
}
