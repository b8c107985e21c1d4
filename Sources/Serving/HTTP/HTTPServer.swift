import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// An HTTP/1.1 server on SwiftNIO: one task per connection, requests of a connection one after the other.
package final class HTTPServer: Sendable {
  /// Answers a request. Its task is cancelled when the client disconnects.
  package typealias Handler = @Sendable (HTTPRequest) async -> HTTPResponse

  private typealias Connection = NIOAsyncChannel<HTTPServerRequestPart, HTTPServerResponsePart>
  private typealias Inbound = NIOAsyncChannelInboundStream<HTTPServerRequestPart>.AsyncIterator
  private typealias Outbound = NIOAsyncChannelOutboundWriter<HTTPServerResponsePart>

  private let limits: HTTPLimits
  private let handler: Handler
  private let openConnections = Mutex(0)

  package init(limits: HTTPLimits = HTTPLimits(), handler: @escaping Handler) {
    self.limits = limits
    self.handler = handler
  }

  /// Serves until the task is cancelled.
  /// - Parameters:
  ///   - port: 0 for any free port.
  ///   - started: called with the port once connections are accepted.
  /// - Throws: an error if the address can't be used.
  package func run(host: String, port: Int, started: @Sendable (Int) -> Void) async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    do {
      try await listen(on: group, host: host, port: port, started: started)
    } catch {
      try? await group.shutdownGracefully()
      if !(error is CancellationError) { throw error }
      return
    }
    try await group.shutdownGracefully()
  }

  private func listen(
    on group: MultiThreadedEventLoopGroup, host: String, port: Int, started: @Sendable (Int) -> Void
  ) async throws {
    let limits = limits
    let listener = try await ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 256)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .bind(host: host, port: port) { channel in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: true, withErrorHandling: true)
          try pipeline.addHandler(ConnectionDeadlines(limits))
          return try Connection(wrappingChannelSynchronously: channel)
        }
      }
    started(listener.channel.localAddress?.port ?? port)
    try await withThrowingDiscardingTaskGroup { tasks in
      try await listener.executeThenClose { connections in
        for try await connection in connections { tasks.addTask { await self.serve(connection) } }
      }
    }
  }

  // MARK: One connection

  private func serve(_ connection: Connection) async {
    let isAllowed = openConnections.withLock { count in
      count += 1
      return count <= limits.connections
    }
    defer { openConnections.withLock { $0 -= 1 } }
    // What goes wrong here concerns this client alone, which is gone or has sent no HTTP.
    try? await connection.executeThenClose { inbound, outbound in
      guard isAllowed else { return }
      var parts = inbound.makeAsyncIterator()
      while let (request, keepsAlive) = try await read(&parts, outbound) {
        try await answer(request, on: connection.channel, keepsAlive: keepsAlive, outbound)
        guard keepsAlive else { return }
      }
    }
  }

  private func read(_ parts: inout Inbound, _ outbound: Outbound) async throws -> (HTTPRequest, keepsAlive: Bool)? {
    guard case .head(let head)? = try await parts.next() else { return nil }
    let size = head.headers.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count }
    guard size <= limits.headerBytes else {
      try await refuse(431, "The request's headers are too long.", outbound)
      return nil
    }
    if head.headers["expect"].contains(where: { $0.lowercased() == "100-continue" }) {
      try await outbound.write(.head(HTTPResponseHead(version: .http1_1, status: .continue)))
    }
    var body: [UInt8] = []
    while let part = try await parts.next() {
      switch part {
      case .body(let bytes):
        guard body.count + bytes.readableBytes <= limits.bodyBytes else {
          try await refuse(413, "The request is longer than \(limits.bodyBytes >> 20) MB.", outbound)
          return nil
        }
        body += bytes.readableBytesView
      case .end:
        let request = HTTPRequest(
          method: head.method.rawValue, target: head.uri, headers: head.headers, body: body)
        return (request, head.isKeepAlive)
      case .head: return nil
      }
    }
    return nil
  }

  private func answer(
    _ request: HTTPRequest, on channel: any Channel, keepsAlive: Bool, _ outbound: Outbound
  ) async throws {
    let task = Task {
      let response = await handler(request)
      try await write(response, hasBody: request.method != "HEAD", keepsAlive: keepsAlive, outbound)
    }
    channel.closeFuture.whenComplete { _ in task.cancel() }
    try await withTaskCancellationHandler {
      try await task.value
    } onCancel: {
      task.cancel()
    }
  }

  private func refuse(_ status: Int, _ message: String, _ outbound: Outbound) async throws {
    let error = APIError(status: status, type: "invalid_request_error", message: message)
    try await write(APIError.response(to: error), hasBody: true, keepsAlive: false, outbound)
  }

  private func write(_ response: HTTPResponse, hasBody: Bool, keepsAlive: Bool, _ outbound: Outbound) async throws {
    var headers = HTTPHeaders(response.headers.map { ($0.name, $0.value) })
    // Browsers must not guess the type of what a server on this machine sends.
    headers.replaceOrAdd(name: "X-Content-Type-Options", value: "nosniff")
    if !keepsAlive { headers.replaceOrAdd(name: "Connection", value: "close") }
    switch response.body {
    case .bytes(let bytes):
      headers.replaceOrAdd(name: "Content-Length", value: String(bytes.count))
      try await outbound.write(.head(head(response, headers)))
      if hasBody, !bytes.isEmpty { try await outbound.write(.body(.byteBuffer(ByteBuffer(bytes: bytes)))) }
    case .stream(let chunks):
      headers.replaceOrAdd(name: "Transfer-Encoding", value: "chunked")
      try await outbound.write(.head(head(response, headers)))
      if hasBody {
        for try await chunk in chunks where !chunk.isEmpty {
          try await outbound.write(.body(.byteBuffer(ByteBuffer(bytes: chunk))))
        }
        try Task.checkCancellation()
      }
    }
    try await outbound.write(.end(nil))
  }

  private func head(_ response: HTTPResponse, _ headers: HTTPHeaders) -> HTTPResponseHead {
    HTTPResponseHead(version: .http1_1, status: HTTPResponseStatus(statusCode: response.status), headers: headers)
  }
}
