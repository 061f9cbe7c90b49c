// Imported before everything else: takes SIGUSR1 away from Node, which would open the inspector on it.

// SECURITY: whoever may signal this process could otherwise read its keys through a debugger on 127.0.0.1:9229.
process.on('SIGUSR1', () => undefined)
