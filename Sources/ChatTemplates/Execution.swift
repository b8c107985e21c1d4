import Diagnostics

/// Execution of statements.
extension Interpreter {
  /// How a list of statements ended.
  enum Flow {
    case onward
    case breakLoop
    case continueLoop
  }

  func execute(_ statements: [Statement]) throws(SwiftletError) -> Flow {
    try enter()
    defer { leave() }
    for statement in statements {
      line = statement.line
      let flow = try execute(statement)
      if flow != .onward { return flow }
    }
    return .onward
  }

  private func execute(_ statement: Statement) throws(SwiftletError) -> Flow {
    switch statement.node {
    case .text(let text): try emit(text)
    case .output(let expression): try emit(try string(try evaluate(expression)))
    case .assign(let target, let expression): try assign(try evaluate(expression), to: target)
    case .branch(let branches, let otherwise): return try choose(branches, otherwise)
    case .loop(let loop): return try start(loop)
    case .assignBlock(let target, let filter, let body):
      return try captured(body) { text throws(SwiftletError) in
        try assign(try filtered(text, by: filter), to: target)
      }
    case .filterBlock(let filter, let body):
      return try captured(body) { text throws(SwiftletError) in
        try emit(try string(try filtered(text, by: filter)))
      }
    case .with(let bindings, let body): return try with(bindings, body)
    case .macro(let name, let definition): write(macro(definition), to: name)
    case .callBlock(let call, let definition): try emit(try string(try evaluate(call, caller: macro(definition))))
    case .generation(let definition):
      let text = try call(definition, CallArguments(), in: activation)
      recordGeneration(text)
      try emit(text)
    case .block(_, let function, let body): try block(function, body)
    case .breakLoop: return .breakLoop
    case .continueLoop: return .continueLoop
    case .load: throw error("no loader for this environment specified")
    }
    return .onward
  }

  private func choose(_ branches: [Statement.Branch], _ otherwise: [Statement]) throws(SwiftletError) -> Flow {
    for branch in branches {
      line = branch.line
      if isTrue(try evaluate(branch.test)) { return try execute(branch.body) }
    }
    return try execute(otherwise)
  }

  /// Runs `body` in an inner scope.
  private func within<Result>(
    _ inner: Int, _ body: () throws(SwiftletError) -> Result
  ) throws(SwiftletError) -> Result {
    let outer = scope
    defer { scope = outer }
    enterScope(inner)
    return try body()
  }

  /// Captures the output of `body` and passes it to `use`, unless `break` or `continue` ended it.
  private func captured(
    _ body: Statement.Body, _ use: (String) throws(SwiftletError) -> Void
  ) throws(SwiftletError) -> Flow {
    let line = self.line
    let (text, flow) = try capture { () throws(SwiftletError) in
      try within(body.scope) { () throws(SwiftletError) in try execute(body.statements) }
    }
    self.line = line
    if flow == .onward { try use(text) }
    return flow
  }

  /// Applies the filters of a block to its text.
  private func filtered(_ text: String, by filter: Expression?) throws(SwiftletError) -> Value {
    guard let filter else { return .string(text) }
    return try evaluate(filter, blockText: text)
  }

  private func with(
    _ bindings: [(target: Statement.Target, value: Expression)], _ body: Statement.Body
  ) throws(SwiftletError) -> Flow {
    var values: [Value] = []
    for binding in bindings { values.append(try evaluate(binding.value)) }
    return try within(body.scope) { () throws(SwiftletError) in
      for (binding, value) in zip(bindings, values) { try assign(value, to: binding.target) }
      return try execute(body.statements)
    }
  }

  /// A `block`: its body, with access only to the template's outermost variables.
  private func block(_ function: Int, _ body: Statement.Body) throws(SwiftletError) {
    let outer = activation
    activation = Activation(count: program.functions[function].variableCount, outer: nil)
    defer { activation = outer }
    _ = try within(body.scope) { () throws(SwiftletError) in try execute(body.statements) }
  }

  // MARK: Assignment

  func assign(_ value: Value, to target: Statement.Target) throws(SwiftletError) {
    switch target {
    case .name(let name): write(value, to: name)
    case .attribute(let name, let attribute):
      guard case .namespace(let namespace) = read(name) else {
        throw error("cannot assign attribute on non-namespace object")
      }
      try checkNamespaceName(attribute)
      namespace[attribute] = value
    case .tuple(let parts):
      let values = try unpack(value, into: parts.count)
      for (part, value) in zip(parts, values) { try assign(value, to: part) }
    }
  }

  private func unpack(_ value: Value, into count: Int) throws(SwiftletError) -> [Value] {
    switch value {
    case .none, .bool, .integer, .largeInteger, .number, .macro, .function, .method, .namespace, .cycler, .joiner:
      throw error("cannot unpack non-iterable \(value.typeName) object")
    default: break
    }
    let values = try elements(of: value)
    if values.count < count { throw error("not enough values to unpack (expected \(count), got \(values.count))") }
    if values.count > count { throw error("too many values to unpack (expected \(count))") }
    return values
  }

  // MARK: Loops

  private func start(_ loop: Statement.Loop) throws(SwiftletError) -> Flow {
    let iterable = try evaluate(loop.iterable)
    guard loop.recursiveFunction != nil else {
      return try run(loop, over: iterable, depth0: 0, recursion: nil)
    }
    try emit(try recurse(loop, over: iterable, depth0: 0, activation, scope))
    return .onward
  }

  /// Runs the body of a recursive loop as the function that `loop(...)` calls.
  func recurse(
    _ loop: Statement.Loop, over iterable: Value, depth0: Int, _ outer: Activation, _ outerScope: Int
  ) throws(SwiftletError) -> String {
    let (callerActivation, callerScope, callerLine) = (activation, scope, line)
    defer { (activation, scope, line) = (callerActivation, callerScope, callerLine) }
    activation = Activation(
      count: program.functions[loop.recursiveFunction ?? 0].variableCount, outer: outer)
    scope = outerScope
    return try capture { () throws(SwiftletError) in
      try run(loop, over: iterable, depth0: depth0, recursion: (loop, outer, outerScope))
    }.text
  }

  private func run(
    _ loop: Statement.Loop, over iterable: Value, depth0: Int,
    recursion: (loop: Statement.Loop, activation: Activation, scope: Int)?
  ) throws(SwiftletError) -> Flow {
    let outer = scope
    let line = self.line
    defer { scope = outer }
    let memoryBefore = memoryLeft
    let items = try select(try elements(of: iterable), for: loop)
    let memoryOfItems = memoryBefore - memoryLeft
    defer { memoryLeft += memoryOfItems }
    let state = LoopState(items: items, depth0: depth0, recursion: recursion)
    let loopName = program.loopName
    // Jinja2 runs the else branch unless an iteration reached the end of the body.
    var finishedRound = false
    rounds: for (index, item) in items.enumerated() {
      self.line = line
      try spend(1)
      state.index0 = index
      enterScope(loop.body.scope)
      if let loopName { write(.loop(state), to: loopName) }
      try assign(item, to: loop.target)
      switch try execute(loop.body.statements) {
      case .onward: finishedRound = true
      case .continueLoop: continue
      case .breakLoop: break rounds
      }
    }
    scope = outer
    if !finishedRound, let otherwise = loop.otherwise {
      return try within(otherwise.scope) { () throws(SwiftletError) in try execute(otherwise.statements) }
    }
    return .onward
  }

  /// The elements that pass the loop's `if`.
  private func select(_ items: [Value], for loop: Statement.Loop) throws(SwiftletError) -> [Value] {
    guard let test = loop.test else { return items }
    try spendMemory(elements: items.count)
    return try within(loop.testScope) { () throws(SwiftletError) in
      var selected: [Value] = []
      for item in items {
        try assign(item, to: loop.target)
        if isTrue(try evaluate(test)) { selected.append(item) }
      }
      return selected
    }
  }

  // MARK: Macros

  private func macro(_ definition: Statement.Macro) -> Value {
    noteClosure()
    return .macro(Macro(definition: definition, activation: activation))
  }

  /// Calls a macro or the body of a call block.
  func call(
    _ definition: Statement.Macro, _ arguments: CallArguments, in outer: Activation
  ) throws(SwiftletError) -> String {
    try enter()
    defer { leave() }
    let (callerActivation, callerScope, callerLine) = (activation, scope, line)
    defer { (activation, scope, line) = (callerActivation, callerScope, callerLine) }
    let function = program.functions[definition.function]
    let names = program.syntax.names
    var named = arguments.named
    var values: [Value?] = arguments.positional.prefix(definition.parameters.count).map { $0 }
    for parameter in definition.parameters.dropFirst(values.count) {
      values.append(named.firstIndex { $0.name == names[parameter] }.map { named.remove(at: $0).value })
    }
    let inner = Activation(count: function.variableCount, outer: outer)
    activation = inner
    enterScope(definition.body.scope)
    if let place = function.caller {
      let given = named.firstIndex { $0.name == "caller" }.map { named.remove(at: $0).value }
      inner.variables[place] = given ?? .undefined(.because("No caller defined"))
    }
    if let place = function.namedRest {
      inner.variables[place] = try dictionary(named.map { Mapping.Member(.string($0.name), $0.value) })
    } else if let first = named.first {
      throw error("macro \(label(definition)) takes no keyword argument \(PythonText.quoted(first.name))")
    }
    let rest = arguments.positional.dropFirst(definition.parameters.count)
    if let place = function.positionalRest {
      inner.variables[place] = try tuple(Array(rest))
    } else if !rest.isEmpty {
      throw error("macro \(label(definition)) takes not more than \(definition.parameters.count) argument(s)")
    }
    for (parameter, value) in zip(definition.parameters, values) {
      if let value { write(value, to: parameter) }
    }
    let firstDefault = definition.parameters.count - definition.defaults.count
    for (index, parameter) in definition.parameters.enumerated() where values[index] == nil {
      if index >= firstDefault {
        write(try evaluate(definition.defaults[index - firstDefault]), to: parameter)
      } else {
        write(.undefined(.because("parameter '\(names[parameter])' was not provided")), to: parameter)
      }
    }
    return try capture { () throws(SwiftletError) in try execute(definition.body.statements) }.text
  }

  private func label(_ definition: Statement.Macro) -> String { definition.name.map(PythonText.quoted) ?? "None" }
}
