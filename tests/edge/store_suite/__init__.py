"""What every event store must do, wherever it stores messages. A test class inherits this and has a fixture `store`."""

from tests.edge.store_suite.answers import Answers
from tests.edge.store_suite.api_keys import ApiKeys
from tests.edge.store_suite.appends import Appends
from tests.edge.store_suite.claims import Claims
from tests.edge.store_suite.doors import DoorMessages
from tests.edge.store_suite.outbox import Outbox
from tests.edge.store_suite.policies import Policies
from tests.edge.store_suite.processes import Processes
from tests.edge.store_suite.readers import Readers
from tests.edge.store_suite.wake_ups import WakeUps


class StoreSuite(Appends, Claims, Outbox, DoorMessages, WakeUps, Processes, Readers, Policies, Answers, ApiKeys): ...
